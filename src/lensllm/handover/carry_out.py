"""A job of a training carried out: tried once more where its worker died, its steps told while it runs elsewhere."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lensllm.errors import InputError
from lensllm.execution import Executor
from lensllm.handover.claim import claim, steps_file
from lensllm.handover.jobs import Merge, Train
from lensllm.handover.steps import StepsRead
from lensllm.jobs import Lost
from lensllm.records import Record
from lensllm.search.driver import TRIES
from lensllm.tuning.run import Run
from lensllm.tuning.step_progress import StepProgress

LOOK_EVERY = 1.0
"""Seconds between two looks at how far a worker is."""


def carry_out(executor: Executor, job: Train | Merge) -> Run:
    """The run of a job, in a folder that is held for it. A second try goes on from the last checkpoint of the first.

    Raises:
        InputError: if it failed or diverged, or its worker died twice.
    """
    reason = ""
    for _ in range(TRIES):
        record = _once(executor, replace(job, claim=claim(Path(job.folder))))
        if isinstance(record, Lost):
            reason = record.reason
            continue
        assert isinstance(record, Run)
        if record.status != "done":
            raise InputError(f"{job.label} {record.status}: {record.error}")
        return record
    raise InputError(f"{job.label}: {reason}, twice; the same command goes on from the last checkpoint")


def _once(executor: Executor, job: Train | Merge) -> Record | Lost:
    executor.submit(job)
    with closing(StepProgress(job.label)) as progress:
        steps = StepsRead(steps_file(Path(job.folder), job.claim), progress)
        while (ended := executor.wait(LOOK_EVERY)) is None:
            steps.look()
        steps.look()
    return ended[1]
