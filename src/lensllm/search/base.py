"""What every search is: asked for jobs, told their records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.joining import Admitted
from lensllm.search.policy import Decision
from lensllm.store import Store


class Search(ABC):
    """Says which jobs come next. It knows nothing of where they run or where records are kept.

    Attributes:
        stopped: why there are no more jobs; empty before the end.
        expected: number of jobs known of so far, those that ended included.
        decision: the last decision taken; None in a search that follows a fixed list.
        taken_out: candidates that a person took out while it ran.
        added: candidates that a person added.
    """

    stopped: str = ""
    expected: int = 0
    decision: Decision | None = None
    taken_out: Collection[str] = ()
    added: Sequence[Admitted] = ()

    @abstractmethod
    def ask(self, count: int) -> list[Job]:
        """At most `count` jobs to start now; none if what runs has to end first, or at the end.

        Raises:
            InputError: if nothing can be searched (no candidate works, the budget is too small).
        """

    @abstractmethod
    def tell(self, job: Job, record: Record) -> None:
        """What a job that was asked for came to."""

    def replay(self, store: Store) -> list[tuple[Job, Record]]:
        """Take again what was decided before, from what the store holds: the jobs told, in order. None by default."""
        return []


class Jobs(Search):
    """A fixed list of jobs, the first first.

    Args:
        jobs: to be made.
    """

    def __init__(self, jobs: list[Job]) -> None:
        self._waiting = list(jobs)
        self.expected = len(jobs)

    def ask(self, count: int) -> list[Job]:
        """The next of the list."""
        asked, self._waiting = self._waiting[:count], self._waiting[count:]
        return asked

    def tell(self, job: Job, record: Record) -> None:
        """Nothing follows from a record."""
