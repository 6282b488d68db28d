"""What runs cost: FLOPs forecast from shapes before they are spent, and budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lensllm.arrays import Floats
from lensllm.candidates import Full, Lora, Method
from lensllm.errors import InputError
from lensllm.probes.record import EXAMPLES
from lensllm.tasks import Task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

FULL = Full()
ALL_FULL: Mapping[str, Method] = {}
PADDING = 1.07
"""Steps of eight examples sorted within eight steps are padded by about 9 %, the evaluation's sorted batches by 2 %."""
PROBE_STEPS = 60
"""Steps of a kernel curve's descent, with all that is not counted apart: a median (`python -m evidence probe-cost`)."""
DEFAULT_PART = 0.1
SECONDS_AN_HOUR = 3600.0


def run_flops(
    zero_shot: Run, examples: int, task: Task, training_config: TrainingConfig, *, first: bool, method: Method = FULL
) -> float:
    """FLOPs that a run will take, from those that measuring the same model before any training took.

    (1 + b) 1.07 f D epochs for training, f for each evaluated example, where f is the model's forward pass over an
    average example and b what the method's backward pass costs in those; the first rung trains and validates once a
    learning rate. What scoring took the model as it came is added as it is. With f = 2 N tokens and b = 2 this is the
    6 N D of Kaplan et al. 2020 a training token.
    """
    tested = len(task.test[: training_config.max_test_examples])
    forward = zero_shot.test_flops / tested
    trials = len(training_config.learning_rate_trials) if first else 1
    training = (1 + method.backward) * PADDING * forward * examples * training_config.num_train_epochs * trials
    validation = (
        forward * len(task.validation[: training_config.max_validation_examples]) * (trials if trials > 1 else 0)
    )
    return training + validation + forward * tested + zero_shot.scoring_flops


def everything_flops(
    zero_shots: Sequence[Run], task: Task, training_config: TrainingConfig, methods: Mapping[str, Method] = ALL_FULL
) -> float:
    """FLOPs of fine-tuning every candidate once on all the data, at a learning rate already known."""
    return sum(
        run_flops(run, len(task.train), task, training_config, first=False, method=methods.get(run.candidate, FULL))
        for run in zero_shots
    )


def run_costs(
    zero_shots: Sequence[Run],
    rungs: Sequence[int],
    task: Task,
    training_config: TrainingConfig,
    methods: Mapping[str, Method] = ALL_FULL,
) -> Floats:
    """FLOPs of every run of every candidate, shape (K, R); the learning rate is chosen at the first rung.

    Args:
        zero_shots: every candidate as it came.
        rungs: numbers of examples.
        task: of the runs.
        training_config: of the runs.
        methods: name of a candidate -> how it is tuned; full tuning where it is not there.
    """

    def flops(run: Run, size: int) -> float:
        method = methods.get(run.candidate, FULL)
        return run_flops(run, size, task, training_config, first=size == rungs[0], method=method)

    return np.array([[flops(run, size) for size in rungs] for run in zero_shots])


def completion_bytes(task: Task, training_config: TrainingConfig) -> int:
    """Bytes of the completions of all test examples that a run measures."""
    return sum(example.n_bytes for example in task.test[: training_config.max_test_examples])


def probe_flops(
    zero_shot: Run, vocabulary: int, task: Task, training_config: TrainingConfig, method: Method = FULL
) -> float:
    """FLOPs that probing a candidate will take (`lensllm.probes.measure`), from the same measurement of it as it came.

    The kernel of n = N min(8, completion tokens of an average example) rows, from N examples, takes 2 f (n + N) for a
    forward and a backward pass through the activations of every row and two forward passes an example, and 9 n^3 for
    its eigenvalues. The kernel curve takes 60 products of V (n/2)^2 in each of its divisions, a third of that more for
    its smaller sizes. How many steps its descent takes is known afterwards only. What is trained changes nothing of
    this, as no gradient of a weight is formed, but for DoRA: the gradients of its lengths take 2 f more a row.
    """
    from lensllm.probes.flops import spectrum_flops
    from lensllm.probes.measure import SUBSETS, TOKENS

    tested = len(task.test[: training_config.max_test_examples])
    examples = probe_examples(task)
    tokens = completion_bytes(task, training_config) * zero_shot.nats_per_byte / zero_shot.nats_per_token
    rows = examples * min(TOKENS, tokens / tested)
    alone = rows if isinstance(method, Lora) and method.use_dora else 0
    passes = 2 * zero_shot.test_flops / tested * (rows + examples + alone)
    descent = 4 / 3 * PROBE_STEPS * SUBSETS * 2 * vocabulary * (rows / 2) ** 2
    return passes + spectrum_flops(round(rows)) + descent


def probe_examples(task: Task) -> int:
    """Number of training examples that a candidate is probed on."""
    return min(EXAMPLES, len(task.train))


@dataclass(frozen=True)
class Budget:
    """What a selection may spend, in one of three units; a tenth of fine-tuning everything if none is given.

    Attributes:
        part: of the FLOPs of fine-tuning every candidate on all the data.
        flops: floating-point operations.
        hours: of computing (one processor or GPU, summed over workers).
        by_default: whether nothing was given.

    Raises:
        InputError: if more than one is given.
    """

    part: float | None = None
    flops: float | None = None
    hours: float | None = None
    by_default: bool = field(default=False, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        units = ("of fine-tuning everything", "FLOPs", "hours")
        values = (self.part, self.flops, self.hours)
        given = [f"{value:g} {unit}" for value, unit in zip(values, units, strict=True) if value is not None]
        if len(given) > 1:
            raise InputError(f"the budget is {' and '.join(given)}: give one of budget, budget_flops and budget_hours")
        object.__setattr__(self, "by_default", not given)
        if not given:
            object.__setattr__(self, "part", DEFAULT_PART)

    @property
    def in_seconds(self) -> bool:
        """Whether runs are charged their seconds and not their FLOPs."""
        return self.hours is not None

    def amount(self, everything: float) -> float:
        """The budget in FLOPs, or in seconds if it is in hours; `everything` in the same unit."""
        if self.hours is not None:
            return self.hours * SECONDS_AN_HOUR
        return self.flops if self.flops is not None else (self.part or 0.0) * everything

    def raised(self, value: float) -> Budget:
        """The same with another number in its unit.

        >>> Budget(hours=2.0).raised(3.0)
        Budget(part=None, flops=None, hours=3.0)
        """
        changed: dict[str, Any] = {self._field: value}
        return replace(self, **changed)

    @property
    def value(self) -> float:
        """The number that was given, in its unit."""
        return float(getattr(self, self._field))

    @property
    def _field(self) -> str:
        return next(name for name in ("part", "flops", "hours") if getattr(self, name) is not None)

    def format(self, amount: float, everything: float) -> str:
        """An amount in the unit the budget was given in."""
        value = self.in_unit(amount, everything)
        if self.hours is not None:
            return f"{value:.3g} hours"
        return f"{value:.3g} FLOPs" if self.flops is not None else f"{value:.3f} of fine-tuning everything"

    def in_unit(self, amount: float, everything: float) -> float:
        """An amount, in FLOPs or seconds, as a number of the unit the budget was given in."""
        if self.hours is not None:
            return amount / SECONDS_AN_HOUR
        return amount if self.flops is not None else amount / everything
