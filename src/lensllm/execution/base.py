"""What every executor is: it runs jobs and hands their records back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from lensllm.jobs import Job, Lost
from lensllm.records import Record

Outcome = tuple[Job, Record | Lost]
"""A job that ended, with its record, or `Lost` if its worker died over it."""


class Executor(ABC):
    """Runs jobs on some slots.

    The record of a job is the same whatever the executor, bit for bit on a CPU with the same number of threads. A job
    that raises anything ends as its own failed record; a worker that dies loses its own job only. After `close`, and
    after the death of the process that made it, nothing of it is left running.

    An executor knows nothing of the store and the search: `lensllm.search.driver.drive` puts the three together.

    >>> from lensllm.execution.attempt import attempt
    >>> from lensllm.testing import ToyJob
    >>> class Queue(Executor):  # two slots, jobs run when they are waited for
    ...     def __init__(self):
    ...         self.jobs = []
    ...     @property
    ...     def free_slots(self):
    ...         return 2 - len(self.jobs)
    ...     def submit(self, job):
    ...         self.jobs.append(job)
    ...     def wait(self, timeout=None):
    ...         job = self.jobs.pop(0)
    ...         return job, attempt(job, None)
    ...     def close(self):
    ...         self.jobs.clear()
    >>> with Queue() as executor:
    ...     executor.submit(ToyJob("works"))
    ...     executor.submit(ToyJob("fails", "raise"))
    ...     [executor.wait()[1].status for _ in range(2)]
    ['done', 'failed']
    """

    @property
    @abstractmethod
    def free_slots(self) -> int:
        """How many jobs can be submitted now."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job; only while a slot is free."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> Outcome | None:
        """The next job to end; None if none has within `timeout` seconds, or slots were added meanwhile.

        Only while something runs. An executor without workers runs the job now, however long it takes.
        """

    @abstractmethod
    def close(self) -> None:
        """End what still runs, and wait until it is gone."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
