"""A fixed ladder: every candidate is fine-tuned on the same sizes."""

from __future__ import annotations

from collections.abc import Sequence

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.search.workers import Job
from lensllm.tasks import Task
from lensllm.tuning.run import Run

SMALLEST = 50


def doublings(full_size: int, smallest: int = SMALLEST) -> list[int]:
    """50, 100, 200, ... up to the full data size, which is the last.

    Raises:
        InputError: if there are fewer examples than the smallest rung.
    """
    if full_size < smallest:
        raise InputError(f"the task has {full_size} training examples, fewer than the smallest rung of {smallest}")
    sizes = [smallest]
    while sizes[-1] * 2 < full_size:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == full_size else [*sizes, full_size]


class Ladder:
    """Every candidate as it came, then fine-tuned on the same sizes one after another.

    The learning rate is chosen at the first size, and lowered where a larger one does not help.

    Args:
        candidates: to measure.
        task: to measure them on.
        training_config: of every run.
        sizes: rungs asked for.

    Raises:
        InputError: for a size the task does not have, or a task smaller than the smallest rung.
    """

    def __init__(self, candidates: Sequence[Candidate], task: Task, sizes: Sequence[int]) -> None:
        doublings(len(task.train))
        for size in sizes:
            if not 1 <= size <= len(task.train):
                raise InputError(f"size {size} is outside 1 to {len(task.train)}, the task's training examples")
        self.candidates = list(candidates)
        self.sizes = sorted(set(sizes))
        self.stopped = f"every candidate was measured at the sizes asked for: {', '.join(map(str, self.sizes))}"
        self._zero_shots: list[Run] = []

    @property
    def expected(self) -> int:
        """Number of runs known of so far."""
        known = len(self.candidates) - sum(run.status != "done" for run in self._zero_shots)
        return len(self.candidates) + known * max(1, len(self.sizes))

    def start(self) -> list[Job]:
        """The first jobs: every model as it came."""
        return [Job(candidate, 0) for candidate in self.candidates]

    def after(self, job: Job, run: Run) -> list[Job]:
        """The jobs that a run makes possible."""
        if job.examples == 0:
            self._zero_shots.append(run)
            return self._first_rung() if len(self._zero_shots) == len(self.candidates) else []
        learning_rate, previous_validation_loss = job.learning_rate, job.previous_validation_loss
        if run.status == "done":
            learning_rate, previous_validation_loss = run.learning_rate, run.validation
        larger = [size for size in self.sizes if size > job.examples]
        return (
            [Job(job.candidate, larger[0], learning_rate, previous_validation_loss)]
            if larger and learning_rate is not None
            else []
        )

    def _first_rung(self) -> list[Job]:
        usable = {run.candidate: run for run in self._zero_shots if run.status == "done"}
        if not usable:
            failed = self._zero_shots[0]
            raise InputError(f"no candidate could be measured; {failed.candidate}: {failed.error}")
        return [Job(candidate, self.sizes[0]) for candidate in self.candidates if candidate.name in usable]
