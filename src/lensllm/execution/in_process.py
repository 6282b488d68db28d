"""One job at a time, in this process."""

from __future__ import annotations

from lensllm.execution.attempt import attempt
from lensllm.execution.base import Executor, Outcome
from lensllm.jobs import Job
from lensllm.tuning.context import Context


class InProcess(Executor):
    """Runs a job when its result is waited for, with all the threads that torch takes.

    A job that brings the process down brings everything down: nobody is left to say `Lost`.

    >>> from lensllm.testing import ToyJob
    >>> with InProcess() as executor:
    ...     executor.submit(ToyJob("a", number=4))  # 1 + 1/2 + 1/3 + 1/4
    ...     job, record = executor.wait()
    >>> job.label, record.status, round(record.nats_per_byte, 2)
    ('a', 'done', 2.08)
    """

    def __init__(self) -> None:
        self._context = Context()
        self._job: Job | None = None

    @property
    def free_slots(self) -> int:
        """One, or none between `submit` and `wait`."""
        return 1 if self._job is None else 0

    def submit(self, job: Job) -> None:
        """Keep it for `wait`."""
        assert self._job is None, "submit while a slot is free"
        self._job = job

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Run the job."""
        assert self._job is not None, "wait while something runs"
        job = self._job
        try:
            return job, attempt(job, self._context)
        finally:
            self._job = None

    def close(self) -> None:
        """Forget the job that was not begun."""
        self._job = None
