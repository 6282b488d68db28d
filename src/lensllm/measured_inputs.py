"""Task and candidate of a selection, found again as they were measured: for training the winner and handing it over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lensllm.candidates import Candidate
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.handover.measured import AGAIN, measured_base
from lensllm.provenance import CandidateOrigin, Provenance
from lensllm.recorded import file_fingerprint
from lensllm.tasks import Task, read_task
from lensllm.tuning.fit import fit_all
from lensllm.tuning.quiet import quiet


def read_measured(origin: Provenance, source: CandidateOrigin, data: Any = None) -> tuple[Task, Candidate]:
    """Both of them.

    Args:
        origin: of the selection.
        source: the candidate.
        data: the examples, where they came from a Python program.

    Raises:
        InputError: if base or data are gone, or others than those that were measured.
    """
    if data is None and not origin.task.source:
        raise InputError("the examples came from a Python program: hand them over again, selection.train(task=...)")
    candidate = measured_base(source)
    config = SelectConfig.of(**origin.settings)
    if data is None and Path(origin.task.source).is_absolute():
        for file in origin.task.files:
            if not Path(file.path).is_file():
                raise InputError(f"{file.path}, which the selection read, is missing: put it back, or select again")
            if file_fingerprint(file.path) != file.sha256:
                raise InputError(f"{file.path} has changed since the selection: {AGAIN}")
    whole = read_task(config.task if data is None else data, **config.reading())
    with quiet():
        fitted, _ = fit_all(whole, [candidate], origin.training, config.skip_bad_rows)
        if fitted.fingerprint != origin.task.fingerprint:  # for the sake of others examples may have been left out
            everybody = [measured_base(one) for one in origin.candidates]
            fitted, _ = fit_all(whole, everybody, origin.training, config.skip_bad_rows)
    if fitted.fingerprint == origin.task.fingerprint:
        return fitted, candidate
    raise InputError(f"the examples of {origin.task.name} are others than those of the selection: {AGAIN}")
