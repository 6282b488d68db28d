"""All rungs of a candidate's ladder from one training run, with a short cool-down at each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from lensllm.candidates.load import load_model
from lensllm.tasks.encoded import Encoded
from lensllm.tuning.device import device
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.in_training import measure
from lensllm.tuning.memory import out_of_memory
from lensllm.tuning.run import LearningRateTrial, Run
from lensllm.tuning.trainer import CompletionTrainer, Diverged
from lensllm.tuning.training_config import TrainingConfig

Factor = Callable[[int], float]
"""Step of a stretch of training, from 0 -> multiple of its learning rate."""


@dataclass(frozen=True)
class OnePass:
    """The form of a one-pass ladder: constant rate, then linear cool-down branches (Hägele et al. 2024).

    The defaults came nearest to separate runs, at no more than 1.25 times the training of the last rung, among those
    tried on two models and the task `define` (docs/plan.md).

    Attributes:
        trunk_epochs: passes of the trunk over the examples that a rung adds to the one before.
        cool_down: steps of a branch, as a part of the steps of a separate run on the same rung; its examples are drawn
            from the whole rung. With 0 the trunk itself is measured.
        rate: learning rate of the trunk, as a part of the peak of a separate run.
    """

    trunk_epochs: float = 2.0
    cool_down: float = 0.25
    rate: float = 0.6


class Checkpoint:
    """A model and its optimizer at one step, copied in memory."""

    def __init__(self, model: PreTrainedModel, optimizer: Optimizer) -> None:
        self._weights = deepcopy(model.state_dict())
        self._optimizer = deepcopy(optimizer.state_dict())

    def restore(self, model: PreTrainedModel, optimizer: Optimizer) -> None:
        """Put both back to that step, bit for bit."""
        model.load_state_dict(self._weights)
        optimizer.load_state_dict(deepcopy(self._optimizer))


class Trunk:
    """A training run that goes on stretch by stretch and can be put back to an earlier step.

    Args:
        encoded: the candidate and the task.

    Attributes:
        model: as trained so far.
        optimizer: with its state so far.
        meter: charged for everything.
    """

    def __init__(self, encoded: EncodedTask) -> None:
        self.model = load_model(encoded.candidate)
        self.model.to(device())
        self.meter = encoded.meter(self.model)
        self._protocol = encoded.training_config
        self._micro_batch = encoded.training_config.per_device_train_batch_size
        self.optimizer: Optimizer = self._trainer([], encoded.training_config, 0.0).create_optimizer()

    def checkpoint(self) -> Checkpoint:
        """Where the run is now."""
        return Checkpoint(self.model, self.optimizer)

    def go_back(self, checkpoint: Checkpoint) -> None:
        """Go back to where the run was."""
        checkpoint.restore(self.model, self.optimizer)

    def train(self, examples: Sequence[Encoded], steps: int, rate: float, factor: Factor, seed: int) -> None:
        """So many steps over the examples, which repeat in another random order once all were seen.

        With less at once, and the same steps, where memory does not suffice.

        Raises:
            Diverged: if the training loss is not finite.
        """
        start = self.checkpoint()
        while True:
            trainer = self._trainer(examples, replace(self._protocol, seed=seed), rate)
            trainer.args.max_steps = steps
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] = rate
            trainer.optimizer, trainer.lr_scheduler = self.optimizer, LambdaLR(self.optimizer, factor)
            try:
                trainer.train()
                return
            except RuntimeError as error:
                if self._micro_batch == 1 or not out_of_memory(error):
                    raise
                self.go_back(start)
                self._micro_batch = max(size for size in range(1, self._micro_batch) if self._micro_batch % size == 0)

    def _trainer(self, examples: Sequence[Encoded], training_config: TrainingConfig, rate: float) -> CompletionTrainer:
        return CompletionTrainer(self.model, examples, training_config, rate, self.meter, self._micro_batch)


def one_pass(
    encoded: EncodedTask, sizes: Sequence[int], learning_rate: float, form: OnePass | None = None
) -> list[Run]:
    """Measure a candidate at all sizes from one training run.

    At each rung the trunk goes over the examples that are new; then a branch lets the learning rate fall to 0 over
    examples of the whole rung and is measured, and the trunk goes on from where the branch left it. With sizes that
    double, training costs about (trunk_epochs / epochs + 2 cool_down) times that of the last rung alone, where separate
    runs cost twice the last.

    As with separate runs a rung whose validation loss is not below that of the rung before is trained once more at a
    lower rate, from the rung before on, and the better of the two is kept from there.

    Args:
        encoded: the candidate and the task.
        sizes: numbers of training examples, ascending.
        learning_rate: peak of a separate run.
        form: the defaults if None.

    Returns:
        One run a size, each charged what it added; the runs end with one that diverged.
    """
    form = form or OnePass()
    trunk = Trunk(encoded)
    runs: list[Run] = []
    previous_validation_loss = math.inf
    for before, examples in pairwise([0, *sizes]):
        rung = _Rung(encoded, form, trunk, before, examples)
        runs.append(rung.run(learning_rate, previous_validation_loss))
        if runs[-1].status != "done":
            break
        learning_rate, previous_validation_loss = runs[-1].learning_rate, runs[-1].validation
    return runs


@dataclass(frozen=True)
class _Rung:
    encoded: EncodedTask
    form: OnePass
    trunk: Trunk
    before: int
    examples: int

    def run(self, learning_rate: float, previous_validation_loss: float) -> Run:
        trunk, training_config = self.trunk, self.encoded.training_config
        started, flops, tokens = time.perf_counter(), trunk.meter.total, trunk.meter.tokens
        start = trunk.checkpoint()
        trials: list[LearningRateTrial] = []
        end = cooled = start
        error = ""
        for rate in sorted({learning_rate, learning_rate * training_config.learning_rate_backoff}, reverse=True):
            trunk.go_back(start)
            validation = math.inf
            try:
                grown = self._grow(rate)
                validation = measure(trunk.model, self.encoded, "validation", trunk.meter).nats_per_byte
                if validation < min((trial.validation for trial in trials), default=math.inf):
                    end, cooled, learning_rate = grown, trunk.checkpoint(), rate
            except Diverged as diverged:
                error = str(diverged)
            trials.append(LearningRateTrial(rate, validation))
            if validation < previous_validation_loss:
                break
        least = min(trial.validation for trial in trials)
        before_test = trunk.meter.total
        done = math.isfinite(least)
        trunk.go_back(cooled)
        result = measure(trunk.model, self.encoded, "test", trunk.meter) if done else None
        trunk.go_back(end)
        return Run(
            candidate=self.encoded.candidate.name,
            examples=self.examples,
            status="done" if result else "diverged",
            nats_per_token=result.nats_per_token if result else math.nan,
            nats_per_byte=result.nats_per_byte if result else math.nan,
            standard_error=result.standard_error if result else math.nan,
            validation=least if done else math.nan,
            learning_rate=learning_rate,
            trials=trials if len(trials) > 1 else [],
            flops=trunk.meter.total - flops,
            test_flops=trunk.meter.total - before_test,
            seconds=time.perf_counter() - started,
            tokens=trunk.meter.tokens - tokens,
            parameters=sum(p.numel() for p in trunk.model.parameters()),
            seed=training_config.seed,
            subset_seed=training_config.subset_seed,
            error="" if result else error or "the validation loss is not finite",
        )

    def _grow(self, learning_rate: float) -> Checkpoint:
        """Train the trunk on what is new, remember it, and cool it down."""
        training_config, train, rate = (
            self.encoded.training_config,
            self.encoded.split("train"),
            learning_rate * self.form.rate,
        )
        steps = _steps(self.form.trunk_epochs * (self.examples - self.before), training_config)
        warm_up = 0 if self.before else math.ceil(training_config.warmup_ratio * steps)
        new = train[self.before : self.examples]
        self.trunk.train(new, steps, rate, lambda step: min(1.0, (step + 1) / (warm_up + 1)), training_config.seed)
        grown = self.trunk.checkpoint()
        if self.form.cool_down:
            steps = _steps(self.form.cool_down * training_config.num_train_epochs * self.examples, training_config)
            whole = train[: self.examples]
            self.trunk.train(whole, steps, rate, lambda step: max(0.0, 1 - step / steps), training_config.seed + 1)
        return grown


def _steps(examples: float, training_config: TrainingConfig) -> int:
    return max(1, round(examples / training_config.per_device_train_batch_size))
