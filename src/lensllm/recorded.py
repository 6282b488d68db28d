"""What is written down of a selection, so that it can be repeated."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lensllm.candidates import Candidate, Qlora
from lensllm.candidates.card import licence
from lensllm.config import SelectConfig
from lensllm.provenance import CandidateOrigin, DataFile, Provenance, Rung, TaskOrigin
from lensllm.records import Record
from lensllm.tasks import Task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

PACKAGES = ("lensllm", "torch", "transformers", "peft", "tokenizers", "numpy")
PATHS = ("task", "eval_file", "keep_score", "output_dir")
"""Options that may be a path; `models` may, too."""


def provenance_of(
    config: SelectConfig,
    task: Task,
    candidates: Sequence[Candidate],
    records: Iterable[Record],
    training: TrainingConfig,
    device: str,
    command: str | None = None,
    objects: Mapping[str, str] | None = None,
) -> Provenance:
    """Everything that a selection came from.

    Args:
        config: what was asked for.
        task: as it was measured, without what was left out for a candidate.
        candidates: that took part.
        records: of all that was measured.
        training: how runs were trained.
        device: that they were trained on, in words.
        command: as it was typed; None from Python.
        objects: option -> name of the object that was given for it.
    """
    runs = [one for one in records if isinstance(one, Run) and one.status == "done"]
    four_bits = any(isinstance(one.method, Qlora) or one.four_bits for one in candidates)
    return Provenance(
        command,
        datetime.now(UTC).isoformat(timespec="seconds"),
        versions(four_bits),
        device,
        _task_origin(config, task),
        tuple(_candidate_origin(one, runs) for one in candidates),
        training,
        tuple(sorted({run.examples for run in runs})),
        _settings(config, objects or {}),
        str(Path(config.output_dir).absolute()),
        dict(objects or {}),
    )


def versions(four_bits: bool = False) -> dict[str, str]:
    """Package -> version, of those that change what a run measures.

    Args:
        four_bits: whether bitsandbytes is among them.
    """
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *(["bitsandbytes"] if four_bits else [])):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def file_fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: if it cannot be read.
    """
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _task_origin(config: SelectConfig, task: Task) -> TaskOrigin:
    return TaskOrigin(
        task.name,
        _absolute(config.task),
        tuple(DataFile(path, file_fingerprint(path)) for path in task.files),
        task.layout,
        task.fingerprint,
        len(task.train),
        len(task.validation),
        len(task.test),
    )


def _candidate_origin(candidate: Candidate, runs: Sequence[Run]) -> CandidateOrigin:
    hub_id, commit = _hub(candidate.folder)
    return CandidateOrigin(
        candidate.name,
        os.fsdecode(candidate.model_name_or_path),
        str(candidate.folder.absolute()),
        hub_id,
        commit or candidate.revision or "",
        candidate.fingerprint,
        licence(candidate.folder),
        candidate.method.name,
        _method_settings(candidate.method),
        candidate.variant,
        candidate.chat_template,
        {run.examples: _rung(run) for run in runs if run.candidate == candidate.name},
    )


def _rung(run: Run) -> Rung:
    validation = run.validation if math.isfinite(run.validation) else None
    return Rung(run.learning_rate, validation, run.nats_per_byte, run.seconds, run.flops)


def _method_settings(method: Any) -> dict[str, Any]:
    said = {one.name: getattr(method, one.name) for one in fields(method)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def _hub(folder: Path) -> tuple[str, str]:
    """Id and commit of a snapshot of the hub's cache; empty for another folder."""
    repository = folder.parent.parent.name
    if folder.parent.name != "snapshots" or not repository.startswith("models--"):
        return "", ""
    return repository.removeprefix("models--").replace("--", "/"), folder.name


def _settings(config: SelectConfig, objects: Mapping[str, str]) -> dict[str, Any]:
    """What was asked for, with the paths in it made absolute, as far as a command line can name it."""
    own = objects.get("score", "").split(", ")
    said = config.model_dump()
    for name in PATHS:
        said[name] = _absolute(said[name])
    said["output_dir"] = str(Path(config.output_dir).absolute())
    said["models"] = [_absolute(one) for one in said["models"]]
    said["candidates"] = [{**one, "model": _absolute(one["model"])} for one in said["candidates"]]
    said["score"] = [_absolute(one) for one in said["score"] if one not in own]
    said["chat_template"] = [_absolute(one) for one in said["chat_template"]]
    return said


def _absolute(given: str) -> str:
    """A path made absolute, also one after `MODEL=` or before `:function`; anything else as it is."""
    if _is_there(given):
        return os.path.abspath(given)
    before, equals, file = given.rpartition("=")
    file, colon, function = file.partition(":") if ".py:" in file else (file, "", "")
    return f"{before}{equals}{os.path.abspath(file)}{colon}{function}" if _is_there(file) else given


def _is_there(path: str) -> bool:
    try:
        return bool(path) and os.path.lexists(path)
    except ValueError:
        return False
