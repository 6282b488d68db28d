"""What runs on a node of a Ray cluster."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from lensllm.candidates.elsewhere import Sent, found_here
from lensllm.errors import InputError
from lensllm.execution.attempt import attempt
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.tasks import Task
from lensllm.tuning.candidate_job import CandidateJob
from lensllm.tuning.context import Context

VERSIONS_OF = ("lensllm", "torch", "transformers", "peft")
"""Packages that results depend on."""


@dataclass(frozen=True)
class Told:
    """What a node says of itself.

    Attributes:
        name: of the machine.
        versions: of the packages that results depend on.
        kind: of the device that torch finds there.
        free: bytes of it that tensors can take.
        dtype: that it computes in.
        device: its name.
    """

    name: str
    versions: dict[str, str]
    kind: str
    free: int
    dtype: str
    device: str


@dataclass(frozen=True)
class Lacking:
    """A job that was not begun: its node has not got the model, or the folder that it writes to.

    Attributes:
        reason: a sentence with the node's name.
    """

    reason: str


def versions() -> dict[str, str]:
    """Those of this process; what follows a plus is the build of one machine."""
    from importlib.metadata import version

    return {name: version(name).split("+")[0] for name in VERSIONS_OF}


def tell() -> Told:
    """What this node is."""
    from lensllm.tuning.device import device, device_told, own_dtype
    from lensllm.tuning.device_memory import free_bytes

    kind = device().type
    return Told(platform.node(), versions(), kind, free_bytes(kind), own_dtype(), device_told())


def packed(job: Job) -> tuple[Job, Sent | None, Task | None]:
    """A job without what is sent in another way: what finds the candidate again, and the task."""
    if not isinstance(job, CandidateJob):
        return job, None, None
    bare = replace(job, candidate=replace(job.candidate), task=Task(job.task.name, (), (), ()))
    return bare, Sent.of(job.candidate), job.task


def begun_first(function: Callable[..., Any], *given: Any) -> Iterator[Any]:
    """None at once, so that who asked knows that it has begun; then what a function makes."""
    yield None
    yield function(*given)


def work(job: Job, sent: Sent | None, task: Task | None) -> Record | Lacking:
    """Make a job with what this worker process has kept."""
    if sent is not None:
        assert isinstance(job, CandidateJob)
        assert task is not None
        try:
            job.check_here()
            job = replace(job, candidate=found_here(sent), task=task)
        except InputError as error:
            return Lacking(f"node {platform.node()} cannot run {sent.candidate.name}: {error}")
    return attempt(job, _context())


def call(function: Callable[..., Any], sent: Sent, task: Task, rest: dict[str, Any]) -> tuple[Any, str]:
    """What a function makes of a candidate here, or why not."""
    try:
        return function(found_here(sent), task, **rest), ""
    except InputError as error:
        return None, f"node {platform.node()}: {error}"


@lru_cache(maxsize=1)
def _context() -> Context:
    return Context()
