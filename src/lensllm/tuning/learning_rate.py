"""Training at one learning rate after another, and keeping the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from lensllm.candidates.load import load_model
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.freed_memory import give_back
from lensllm.tuning.loss import Evaluation, evaluate, most_at_once
from lensllm.tuning.run import LearningRateTrial
from lensllm.tuning.trainer import CompletionTrainer, Diverged


@dataclass
class Tuned:
    """The best of the models trained.

    Attributes:
        model: the one with the lowest validation loss; None if all diverged.
        learning_rate: its peak; 0 if all diverged.
        validation: its loss on the validation examples, nats a byte; infinite if all diverged.
        trials: every learning rate tried.
        error: why the last diverged one did.
    """

    model: PreTrainedModel | None = None
    learning_rate: float = 0.0
    validation: float = math.inf
    trials: list[LearningRateTrial] = field(default_factory=list)
    error: str = ""


def tune(
    encoded: EncodedTask,
    model: PreTrainedModel,
    examples: int,
    rates: Sequence[float],
    previous_validation_loss: float | None,
    meter: FlopMeter,
) -> Tuned:
    """Train at every rate; at a lower one too, where the first does not come below the loss of the rung before.

    Args:
        encoded: the candidate and the task.
        model: freshly loaded and prepared; trained first, the others are loaded anew.
        examples: number of training examples.
        rates: peak learning rates.
        previous_validation_loss: of the rung before, nats a byte; None at the first.
        meter: charged for everything.
    """
    tuned = Tuned()
    waiting = list(rates)
    fresh: PreTrainedModel | None = model
    while waiting:
        rate = waiting.pop(0)
        validation = math.inf
        trained: PreTrainedModel | None = None
        try:
            trained, fresh = train(encoded, fresh, examples, rate, meter), None
            validation = measure(trained, encoded, "validation", meter).nats_per_byte
            if validation < tuned.validation:
                tuned.model, tuned.learning_rate, tuned.validation = trained, rate, validation
        except Diverged as diverged:
            fresh, tuned.error = None, str(diverged)
        trained = None
        give_back()
        tuned.trials.append(LearningRateTrial(rate, validation))
        stuck = previous_validation_loss is not None and not validation < previous_validation_loss
        if stuck and len(tuned.trials) == 1:
            waiting = [rate * encoded.training_config.learning_rate_backoff]
    return tuned


def train(
    encoded: EncodedTask, model: PreTrainedModel | None, examples: int, rate: float, meter: FlopMeter
) -> PreTrainedModel:
    """The tuned model; with less at once, and the same steps, where logits are many or memory does not suffice.

    Raises:
        Diverged: if the training loss is not finite.
    """
    method, batch = encoded.candidate.method, encoded.training_config.per_device_train_batch_size
    config = encoded.training_config

    def fresh() -> PreTrainedModel:
        return method.prepare(load_model(encoded.candidate), config.seed)

    model = model or fresh()
    subset = encoded.train(examples)
    longest = sorted(subset, key=lambda one: len(one.labels), reverse=True)[:batch]
    fit = most_at_once(model, longest)
    most = fit if fit < len(longest) else batch
    for micro_batch in [size for size in range(batch, 0, -1) if batch % size == 0 and size <= most]:
        trainer = CompletionTrainer(
            model or fresh(),
            subset,
            config,
            rate,
            meter,
            micro_batch,
        )
        try:
            trainer.train()
            return trainer.model
        except torch.OutOfMemoryError:
            model = None
            if micro_batch == 1:
                raise
    raise AssertionError("every batch has the divisor 1")


def measure(model: PreTrainedModel, encoded: EncodedTask, split: str, meter: FlopMeter) -> Evaluation:
    """Loss of the model over a split, charged to the meter."""
    with torch.inference_mode():
        return evaluate(model, encoded.split(split), observe=lambda batch: meter.charge(batch, training=False))
