"""A fixed ladder: every candidate is fine-tuned on the same sizes."""

from __future__ import annotations

from collections.abc import Sequence

from lensllm.errors import InputError, NothingMeasured, TooFewExamples
from lensllm.jobs import UNKNOWN, Job
from lensllm.records import Record
from lensllm.search.base import Search
from lensllm.tuning.fine_tune import FineTune

SMALLEST = 50
"""Below, a run of three epochs has fewer than 19 steps of eight examples, too few to learn the form of a task."""


def doublings(full_size: int, smallest: int = SMALLEST) -> list[int]:
    """50, 100, 200, ... up to the full data size, which is the last.

    Raises:
        TooFewExamples: if there are fewer examples than the smallest rung.

    >>> doublings(300)
    [50, 100, 200, 300]
    """
    if full_size < smallest:
        raise TooFewExamples(
            f"the task has {full_size} training examples, fewer than the smallest rung of {smallest}",
            smallest,
            full_size,
        )
    sizes = [smallest]
    while sizes[-1] * 2 < full_size:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == full_size else [*sizes, full_size]


class Ladder(Search):
    """Every first job, then each candidate's next sizes one after another (`FineTune.next`).

    Nothing is trained before every first job has ended, so that a candidate that cannot be used is known early. A
    candidate whose run fails or diverges climbs no further. Of the jobs that wait the largest comes first.

    Args:
        first: the first job of every candidate: the model as it came, or its first rung.
        sizes: rungs asked for.

    Raises:
        InputError: for a size the task does not have.
    """

    def __init__(self, first: Sequence[FineTune], sizes: Sequence[int]) -> None:
        for job in first:
            for size in sizes:
                if not 1 <= size <= len(job.task.train):
                    raise InputError(f"size {size} is outside 1 to {len(job.task.train)}, the task's training examples")
        self.sizes = sorted(set(sizes))
        self.expected = sum(1 + len(self._above(job)) for job in first)
        self.stopped = f"every candidate was measured at the sizes asked for: {', '.join(map(str, self.sizes))}"
        self._first = list(first)
        self._candidates = [job.candidate.name for job in first]
        self._open = len(self._first)
        self._waiting: list[FineTune] = []
        self._failures: dict[str, str] = {}

    def ask(self, count: int) -> list[Job]:
        """The first jobs in the order given, then the largest that wait."""
        source = self._first if self._first else [] if self._open else self._waiting
        source.sort(key=lambda job: -job.examples)
        asked = source[:count]
        del source[:count]
        return list(asked)

    def tell(self, job: Job, record: Record) -> None:
        """Let the candidate climb.

        Raises:
            NothingMeasured: if the first job of every candidate failed.
        """
        assert isinstance(job, FineTune)
        above = self._above(job)
        following = job.next(record, above[0], UNKNOWN) if above else None
        if following is not None:
            self._waiting.append(following)
        elif above:
            self.expected -= len(above)
        if self._open:
            self._open -= 1
            if record.status != "done":
                self._failures[record.candidate] = record.error
            if not self._open and len(self._failures) == len(self._candidates):
                raise nothing_measured(self._candidates, self._failures)

    def _above(self, job: FineTune) -> list[int]:
        return [size for size in self.sizes if size > job.examples]


def nothing_measured(candidates: Sequence[str], reasons: dict[str, str]) -> NothingMeasured:
    """The error that no candidate is left, with the reason of the first."""
    first = next(name for name in candidates if name in reasons)
    return NothingMeasured(f"no candidate could be measured; {first}: {reasons[first]}", reasons)
