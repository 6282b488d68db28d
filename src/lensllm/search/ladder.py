"""The ladder: which sizes every candidate is fine-tuned on, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.search.workers import Job
from lensllm.tasks import Task
from lensllm.tuning.protocol import Protocol
from lensllm.tuning.run import Run

SMALLEST = 50
BACKWARD = 2.0
"""A backward pass costs about two forward passes: one product for the inputs' gradient, one for the weights'."""
PADDING = 1.07
"""Steps of eight examples sorted within eight steps are padded by about 9 %, the evaluation's sorted batches by 2 %."""


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


def run_flops(zero_shot: Run, examples: int, task: Task, protocol: Protocol, *, first: bool) -> float:
    """FLOPs that a run will take, from those that measuring the same model before any training took.

    (1 + 2) 1.07 f D epochs for training, f for each evaluated example, where f is the model's forward pass over an
    average example; the first rung trains and validates once a learning rate. A second learning rate that a larger rung
    may come to need is not foreseen.
    """
    tested = len(task.test[: protocol.max_test_examples])
    forward = zero_shot.test_flops / tested
    trials = len(protocol.learning_rate_trials) if first else 1
    training = (1 + BACKWARD) * PADDING * forward * examples * protocol.num_train_epochs * trials
    validation = forward * len(task.validation[: protocol.max_validation_examples]) * trials
    return training + validation + forward * tested


def ladder_flops(zero_shots: Sequence[Run], sizes: Sequence[int], task: Task, protocol: Protocol) -> float:
    """FLOPs of the whole ladder for all candidates, measuring the untouched models included."""
    return sum(
        run.flops + sum(run_flops(run, size, task, protocol, first=size == sizes[0]) for size in sizes)
        for run in zero_shots
    )


def everything_flops(zero_shots: Sequence[Run], task: Task, protocol: Protocol) -> float:
    """FLOPs of fine-tuning every candidate once on all the data, at a learning rate already known."""
    return sum(run_flops(run, len(task.train), task, protocol, first=False) for run in zero_shots)


def affordable(budget: float, zero_shots: Sequence[Run], task: Task, protocol: Protocol) -> list[int]:
    """The longest ladder whose cost stays within `budget`, a part of fine-tuning everything.

    Raises:
        InputError: if the budget does not reach two rungs of every candidate, naming the smallest that does.
    """
    sizes = doublings(len(task.train))
    whole = everything_flops(zero_shots, task, protocol)
    costs = [ladder_flops(zero_shots, sizes[:count], task, protocol) / whole for count in range(1, len(sizes) + 1)]
    fitting = [count for count, cost in enumerate(costs, start=1) if cost <= budget]
    rungs = max(fitting, default=0)
    if rungs < 2 <= len(sizes):
        raise InputError(
            f"a budget of {budget:g} of fine-tuning everything does not reach two sizes of every candidate: "
            f"the smallest that does is {costs[1]:.3f} (sizes {sizes[0]} and {sizes[1]})"
        )
    return sizes[:rungs]


class Ladder:
    """Every candidate as it came, then fine-tuned on the same sizes one after another.

    The learning rate is chosen at the first size, and lowered where a larger one does not help.

    Args:
        candidates: to measure.
        task: to measure them on.
        protocol: of every run.
        sizes: rungs asked for; empty for as many doublings of 50 as the budget reaches.
        budget: a part of fine-tuning every candidate on all the data.

    Raises:
        InputError: for a size the task does not have, or a task smaller than the smallest rung.
    """

    def __init__(
        self, candidates: Sequence[Candidate], task: Task, protocol: Protocol, sizes: Sequence[int], budget: float
    ) -> None:
        doublings(len(task.train))
        for size in sizes:
            if not 1 <= size <= len(task.train):
                raise InputError(f"size {size} is outside 1 to {len(task.train)}, the task's training examples")
        self.candidates = list(candidates)
        self.sizes = sorted(set(sizes))
        self.stopped = f"every candidate was measured at the sizes asked for: {self._listed()}"
        self._task, self._protocol, self._budget = task, protocol, budget
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
        learning_rate, to_beat = job.learning_rate, job.to_beat
        if run.status == "done":
            learning_rate, to_beat = run.learning_rate, run.validation
        larger = [size for size in self.sizes if size > job.examples]
        return [Job(job.candidate, larger[0], learning_rate, to_beat)] if larger and learning_rate is not None else []

    def _first_rung(self) -> list[Job]:
        usable = {run.candidate: run for run in self._zero_shots if run.status == "done"}
        if not usable:
            failed = self._zero_shots[0]
            raise InputError(f"no candidate could be measured; {failed.candidate}: {failed.error}")
        if not self.sizes:
            self.sizes = affordable(self._budget, list(usable.values()), self._task, self._protocol)
            self.stopped = f"the budget of {self._budget:g} reaches the sizes {self._listed()} of every candidate"
        return [Job(candidate, self.sizes[0]) for candidate in self.candidates if candidate.name in usable]

    def _listed(self) -> str:
        return ", ".join(map(str, self.sizes))
