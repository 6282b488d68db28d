"""One fine-tuning run: choose a learning rate if need be, train, measure, account."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from lensllm.candidates import Candidate
from lensllm.candidates.load import context_length, load_model, load_tokenizer
from lensllm.errors import InputError
from lensllm.tasks import Example, Task
from lensllm.tasks.encode import Encoded, encode
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import Evaluation, evaluate
from lensllm.tuning.run import LearningRateTrial, Run
from lensllm.tuning.trainer import CompletionTrainer, Diverged
from lensllm.tuning.training_config import TrainingConfig


@dataclass
class EncodedTask:
    """A candidate beside a task: everything is tokenised once and kept for all the candidate's runs."""

    candidate: Candidate
    task: Task
    training_config: TrainingConfig
    _encoded: dict[str, list[Encoded]] = field(default_factory=dict)
    _tokenizer: Any = None
    _meter: FlopMeter | None = None

    def split(self, name: str) -> list[Encoded]:
        """The encoded examples of a split; `train` is in the order of the nested subsets.

        Raises:
            InputError: if a completion does not fit the model.
        """
        if name not in self._encoded:
            examples: tuple[Example, ...] | list[Example] = getattr(self.task, name)
            if name == "train":
                examples = self.task.subset(len(self.task.train), self.training_config.subset_seed)
            elif name == "test":
                examples = examples[: self.training_config.max_test_examples]
            else:
                examples = examples[: self.training_config.max_validation_examples]
            self._tokenizer = self._tokenizer or load_tokenizer(self.candidate)
            try:
                self._encoded[name] = encode(
                    examples,
                    self._tokenizer,
                    encoder_decoder=self.candidate.encoder_decoder,
                    max_length=min(self.training_config.max_length, context_length(self.candidate, self._tokenizer)),
                    model_name=self.candidate.name,
                    vocabulary=self.candidate.vocabulary,
                )
            except InputError as error:
                raise InputError(f"{self.task.name}, {name} split: {error}") from error
        return self._encoded[name]

    def probe_examples(self, count: int) -> list[Encoded]:
        """The first `count` training examples of the nested subsets.

        Raises:
            InputError: if the task has not got so many, or a completion does not fit the model.
        """
        self.check_probe(count)
        return self.split("train")[:count]

    def check_probe(self, count: int) -> None:
        """Refuse to probe on more examples than there are.

        Raises:
            InputError: saying how many there are.
        """
        if count > len(self.task.train):
            raise InputError(
                f"{count} probe examples asked for, and {self.task.name} has {len(self.task.train)} training "
                "examples: ask for fewer"
            )

    def encode(self) -> None:
        """Encode all splits, so that an example that does not fit is found before anything is trained.

        Raises:
            InputError: naming the split, the example and the model.
        """
        for name in ("test", "validation", "train"):
            self.split(name)

    def meter(self, model: PreTrainedModel) -> FlopMeter:
        """A meter at 0 for the candidate's model, which is counted only once."""
        self._meter = self._meter or FlopMeter(model)
        return copy(self._meter)


def fine_tune(
    encoded: EncodedTask,
    examples: int,
    learning_rate: float | None = None,
    previous_validation_loss: float | None = None,
    *,
    keep: Callable[[PreTrainedModel], None] = lambda model: None,
) -> Run:
    """Fine-tune the candidate on the first `examples` of the task and measure its test loss.

    With 0 examples the model is measured as it came. Without a learning rate, those of the protocol are tried;
    with one, a lower one is tried as well if the validation loss does not come below `previous_validation_loss`. The
    one with the lowest validation loss is kept; every trial is charged.

    Args:
        encoded: the candidate and the task.
        examples: D.
        learning_rate: its peak; None to choose among the protocol's.
        previous_validation_loss: validation loss of the rung before, nats a byte.
        keep: called with the model that was measured, which is not kept otherwise.

    Returns:
        A run that is done or diverged; an encoded example that does not fit is the only bad input left here.

    Raises:
        InputError: if the model cannot be loaded or an example does not fit it.
    """
    started = time.perf_counter()
    training_config = encoded.training_config
    model = load_model(encoded.candidate)
    if torch.cuda.is_available():
        model.to("cuda")
    meter = encoded.meter(model)
    parameters = sum(p.numel() for p in model.parameters())
    trials: list[LearningRateTrial] = []
    error = ""
    best: PreTrainedModel | None = model if examples == 0 else None
    least = math.inf
    rates = [learning_rate] if learning_rate is not None else training_config.learning_rates(parameters)
    waiting = rates if examples else []
    while waiting:
        rate, *waiting = waiting
        validation = math.inf
        try:
            tuned = _train(encoded, model if not trials else None, examples, rate, meter)
            validation = measure(tuned, encoded, "validation", meter).nats_per_byte
            if validation < least:
                best, learning_rate, least = tuned, rate, validation
        except Diverged as diverged:
            error = str(diverged)
        trials.append(LearningRateTrial(rate, validation))
        if previous_validation_loss is not None and len(trials) == 1 and not validation < previous_validation_loss:
            waiting = [rate * training_config.learning_rate_backoff]

    before_test = meter.total
    result = measure(best, encoded, "test", meter) if best is not None else None
    diverged_test = result is not None and not math.isfinite(result.nats)
    done = result is not None and not diverged_test
    if best is not None and done:
        keep(best)
    return Run(
        candidate=encoded.candidate.name,
        examples=examples,
        status="done" if done else "diverged",
        nats_per_token=result.nats_per_token if result and done else math.nan,
        nats_per_byte=result.nats_per_byte if result and done else math.nan,
        standard_error=result.standard_error if result and done else math.nan,
        validation=least if math.isfinite(least) else math.nan,
        learning_rate=learning_rate or 0.0,
        trials=trials if len(trials) > 1 else [],
        flops=meter.total,
        test_flops=meter.total - before_test,
        seconds=time.perf_counter() - started,
        tokens=meter.tokens,
        parameters=parameters,
        seed=training_config.seed,
        subset_seed=training_config.subset_seed,
        error="" if done else error or "the test loss is not finite",
        lost=result.lost / result.n_bytes if result else 0.0,
        estimated=meter.estimated,
    )


def _train(
    encoded: EncodedTask, model: PreTrainedModel | None, examples: int, rate: float, meter: FlopMeter
) -> PreTrainedModel:
    """The tuned model; with less at once, and the same steps, where memory does not suffice."""
    batch = encoded.training_config.per_device_train_batch_size
    for micro_batch in [size for size in range(batch, 0, -1) if batch % size == 0]:
        trainer = CompletionTrainer(
            model or load_model(encoded.candidate),
            encoded.split("train")[:examples],
            encoded.training_config,
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
