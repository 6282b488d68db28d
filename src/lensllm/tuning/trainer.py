"""transformers' Trainer, made to waste little on short examples."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from lensllm.tasks.encoded import Encoded, collate
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import counted, token_nats
from lensllm.tuning.tracking import TrackedRun
from lensllm.tuning.training_config import TrainingConfig

SORTED_STEPS = 8
LOGGED = 20
"""Times that a tracked training is heard of."""


class Diverged(ArithmeticError):
    """The training loss became infinite or not a number."""


class Forwarded(TrainerCallback):
    """What a training says, told to a tracked run that may hold several trainings."""

    def __init__(self, tracked: TrackedRun) -> None:
        self._tracked = tracked

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the run, or go on in it."""
        self._tracked.begin(args, state, control, kwargs.get("model"))

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Numbers of a step."""
        self._tracked.log(state, kwargs.get("logs") or {})


class ByLength(Sampler[int]):
    """Examples in random order, sorted by length within every `SORTED_STEPS` steps.

    transformers' own `group_by_length` sorts within as many steps as the data allow, which would train small and
    large subsets differently.
    """

    def __init__(self, lengths: list[int], step: int, order: torch.Generator) -> None:
        self.lengths, self.step, self.order = lengths, step, order

    def __len__(self) -> int:
        return len(self.lengths)

    def pass_over(self, epochs: int) -> None:
        """Draw the orders of epochs that are over, so that a training that goes on has the next one."""
        for _ in range(epochs):
            iter(self)

    def __iter__(self) -> Iterator[int]:
        return iter(get_length_grouped_indices(self.lengths, self.step, SORTED_STEPS, self.order))


class Pace(TrainerCallback):
    """Time and FLOPs from the second step of this process on: the first one also makes ready what the others find.

    Attributes:
        seconds: of those steps.
        flops: of those steps.
    """

    def __init__(self, meter: FlopMeter) -> None:
        self.meter = meter
        self.seconds = self.flops = 0.0
        self._began, self._before = math.nan, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        """Begin after the first step, and go on to the one that has just ended."""
        if math.isnan(self._began):
            self._began, self._before = time.perf_counter(), self.meter.total
        else:
            self.seconds, self.flops = time.perf_counter() - self._began, self.meter.total - self._before


class CompletionTrainer(Trainer):
    """Trainer whose batches hold examples of like length and whose logits are formed for completions only.

    The loss is the mean over the completion tokens of a step, as Trainer's own. Everything else (optimizer,
    schedule, clipping, devices) is Trainer's.

    Args:
        model: trained in place.
        examples: of one subset.
        training_config: epochs, examples a step, schedule, seed.
        learning_rate: its peak.
        meter: charged for every batch.
        micro_batch: examples at once, a divisor of the examples a step; gradients add up to the same step.
        checkpointing: whether the model forms activations anew in the backward pass, which is charged.
        tracked: hears of twenty steps on the way; None where nobody does.

    Attributes:
        pace: how fast it went.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        examples: Sequence[Encoded],
        training_config: TrainingConfig,
        learning_rate: float,
        meter: FlopMeter,
        micro_batch: int,
        *,
        checkpointing: bool = False,
        tracked: TrackedRun | None = None,
    ) -> None:
        self.meter = meter
        self.checkpointing = checkpointing
        self.autocast = training_config.dtype == "bfloat16"
        with tempfile.TemporaryDirectory() as unused:
            arguments = TrainingArguments(
                output_dir=unused,
                num_train_epochs=training_config.num_train_epochs,
                per_device_train_batch_size=micro_batch,
                gradient_accumulation_steps=training_config.train_batch_size // micro_batch,
                learning_rate=learning_rate,
                lr_scheduler_type=training_config.lr_scheduler_type,
                warmup_steps=training_config.warmup_ratio,
                weight_decay=training_config.weight_decay,
                max_grad_norm=training_config.max_grad_norm,
                optim=training_config.optim,
                seed=training_config.seed,
                save_strategy="no",
                logging_strategy="steps" if tracked else "no",
                logging_steps=1 / LOGGED,
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=model.device.type == "cuda",
            )
        super().__init__(
            model=model, args=arguments, train_dataset=list(examples), data_collator=partial(collate, training=True)
        )
        self.remove_callback(PrinterCallback)
        self.pace = Pace(meter)
        self.add_callback(self.pace)
        if tracked:
            self.add_callback(Forwarded(tracked))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [len(example.input_ids) + len(example.labels) for example in self.train_dataset]
        order = torch.Generator().manual_seed(self.args.seed)
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return ByLength(lengths, step, order)

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The batch's part of the mean loss in nats a completion token of its step.

        Raises:
            Diverged: if it is not finite.
        """
        self.meter.charge(inputs, training=True, checkpointing=self.checkpointing)
        tokens = counted(inputs, self.meter.encoder_decoder) if num_items_in_batch is None else num_items_in_batch
        loss = token_nats(model, inputs, autocast=self.autocast).sum() / tokens
        if not torch.isfinite(loss):
            raise Diverged(f"the training loss became {loss.item():g} at step {self.state.global_step + 1}")
        return loss
