"""Training at one learning rate after another, and keeping the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save_file

from lensllm.tuning.in_training import InTraining
from lensllm.tuning.run import LearningRateTrial
from lensllm.tuning.trainer import Diverged


@dataclass
class Tuned:
    """What came of the learning rates.

    Attributes:
        learning_rate: the best one, 0 if all diverged.
        validation: its loss on the validation examples, nats a byte; infinite if all diverged.
        trials: every learning rate tried.
        error: why the last diverged one did.
    """

    learning_rate: float = 0.0
    validation: float = math.inf
    trials: list[LearningRateTrial] = field(default_factory=list)
    error: str = ""

    @property
    def learned(self) -> bool:
        """Whether one of the rates did not diverge."""
        return math.isfinite(self.validation)


def tune(model: InTraining, rates: Sequence[float], previous_validation_loss: float | None) -> Tuned:
    """Train at every rate; at a lower one too, where the first does not come below the loss of the rung before.

    There is never more than one copy of the model in memory: what the best rate made of the trained parameters waits
    in a file.

    Args:
        model: left as the best rate made it.
        rates: peak learning rates.
        previous_validation_loss: of the rung before, nats a byte; None at the first.

    Raises:
        InputError: as `InTraining.train`.
    """
    tuned, waiting, is_best = Tuned(), list(rates), False
    config = model.config
    with TemporaryDirectory() as folder:
        best = Path(folder, "best.safetensors")
        while waiting:
            rate, validation = waiting.pop(0), math.inf
            try:
                model.train(rate)
                validation = model.measure("validation").nats_per_byte
            except Diverged as diverged:
                tuned.error = str(diverged)
            tuned.trials.append(LearningRateTrial(rate, validation))
            stuck = previous_validation_loss is not None and not validation < previous_validation_loss
            if stuck and len(tuned.trials) == 1 and config.learning_rate is None:
                waiting = [rate * config.learning_rate_backoff]
            is_best = validation < tuned.validation
            if is_best:
                tuned.learning_rate, tuned.validation = rate, validation
                if waiting:
                    save_file(model.trained(), best)
        if tuned.learned and not is_best:
            model.set(load_file(best))
    return tuned
