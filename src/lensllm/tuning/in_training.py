"""A model that is trained again and again, each time from where it began."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lensllm.candidates.four_bits import elements
from lensllm.candidates.load import load_model
from lensllm.tuning.attempts import Attempt, attempts, too_large
from lensllm.tuning.checkpoints import Checkpoints, ResumedTrainer
from lensllm.tuning.device import where
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.logits_in_parts import read_contiguously
from lensllm.tuning.loss import Evaluation, evaluate
from lensllm.tuning.memory import give_back, out_of_memory, set_gradient_checkpointing
from lensllm.tuning.tracking import TrackedRun
from lensllm.tuning.trainer import CompletionTrainer


class InTraining:
    """A candidate's model in memory, once.

    Weights that stay are loaded once, and only adapters are put back to where they began. Where every weight is
    trained the files are read again.

    Args:
        encoded: the candidate and the task.
        examples: that it is trained on; with 0 it is as it came.
        at_once: what is tried first, where memory was planned.
        checkpoints: where a training that may be interrupted leaves them; None for none.
        tracked: hears of the trainings; None where nobody does.

    Attributes:
        model: on the device or spread over several, prepared by the candidate's method.
        config: how it is trained.
        parameters: of the model, without adapters.
        meter: charged for everything.
        training_flops: the part of it that trained, without the first steps.
        training_seconds: the time that took.

    Raises:
        InputError: if it cannot be loaded, or not be tuned so.
    """

    model: PreTrainedModel
    parameters: int

    def __init__(
        self,
        encoded: EncodedTask,
        examples: int,
        at_once: Attempt | None = None,
        checkpoints: Checkpoints | None = None,
        tracked: TrackedRun | None = None,
    ) -> None:
        self._checkpoints = checkpoints
        self._tracked = tracked
        self.config = encoded.training_config
        self._encoded = encoded
        self.training_flops = self.training_seconds = 0.0
        self._method = encoded.candidate.method if examples else encoded.candidate.method.untuned
        self._load()
        self.meter = encoded.meter(self.model, self._method)
        if examples:
            self._subset = encoded.train(examples)
            self._attempts = attempts(self.model, self._subset, self.config, at_once)
            stays = any(not parameter.requires_grad for parameter in self.model.parameters())
            self._start = {name: value.clone() for name, value in self.trained().items()} if stays else None
            self._is_new = True

    @property
    def trained_parameters(self) -> int:
        """How many are trained."""
        return sum(value.numel() for value in self.trained().values()) if self._method.trains else 0

    def trained(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def set(self, values: dict[str, Tensor]) -> None:
        """Put values in place of what was trained."""
        for name, parameter in self.trained().items():
            parameter.copy_(values[name])

    def train(self, rate: float) -> None:
        """Train from the beginning; with less at once, and the same steps, where memory does not suffice.

        Args:
            rate: the peak of the learning rate.

        Raises:
            Diverged: if the training loss is not finite.
            InputError: if one example at a time is too much.
        """
        while not self._fits(rate):
            if len(self._attempts) == 1:
                raise too_large(self.model, self._subset, self._attempts[0])
            del self._attempts[0]

    def measure(self, split: str) -> Evaluation:
        """Loss over a split."""
        return measure(self.model, self._encoded, split, self.meter)

    def _fits(self, rate: float) -> bool:
        """Train; whether memory sufficed."""
        self._begin()
        attempt = self._attempts[0]
        if attempt.checkpointing:
            set_gradient_checkpointing(self.model, True)
        resumed = self._checkpoints and partial(ResumedTrainer, checkpoints=self._checkpoints.of(rate, attempt))
        trainer = (resumed or CompletionTrainer)(
            self.model,
            self._subset,
            self.config,
            rate,
            self.meter,
            attempt.micro_batch,
            checkpointing=attempt.checkpointing,
            tracked=self._tracked,
        )
        try:
            trainer.train()
            return True
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            return False
        finally:
            self.training_seconds += trainer.pace.seconds
            self.training_flops += trainer.pace.flops
            self.model.zero_grad(set_to_none=True)
            if attempt.checkpointing:
                set_gradient_checkpointing(self.model, False)
            del trainer
            give_back()

    def _begin(self) -> None:
        """The model as it was before it was trained."""
        if not self._is_new and self._start is not None:
            self.set(self._start)
        elif not self._is_new:
            del self.model
            give_back()
            self._load()
        self._is_new = False

    def _load(self) -> None:
        dtype = self._method.weights_dtype(self.config.dtype)
        model = load_model(self._encoded.candidate, dtype=dtype, **where())
        self.parameters = sum(map(elements, model.parameters()))
        self.model = self._method.prepare(model, self.config.seed)
        if (head := self.model.get_output_embeddings()) is not None:
            read_contiguously(head)


def measure(model: PreTrainedModel, encoded: EncodedTask, split: str, meter: FlopMeter) -> Evaluation:
    """Loss of a model over a split, charged to the meter."""
    with torch.inference_mode():
        return evaluate(
            model,
            encoded.split(split),
            autocast=encoded.training_config.dtype == "bfloat16",
            observe=lambda batch: meter.charge(batch, training=False),
        )
