"""transformers' Trainer, made to waste little on short examples."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from lensllm.tasks.encoded import Encoded, collate
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import counted, token_nats
from lensllm.tuning.training_config import TrainingConfig

SORTED_STEPS = 8


class Diverged(ArithmeticError):
    """The training loss became infinite or not a number."""


class ByLength(Sampler[int]):
    """Examples in random order, sorted by length within every `SORTED_STEPS` steps.

    transformers' own `group_by_length` sorts within as many steps as the data allow, which would train small and
    large subsets differently.
    """

    def __init__(self, lengths: list[int], step: int, order: torch.Generator) -> None:
        self.lengths, self.step, self.order = lengths, step, order

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(get_length_grouped_indices(self.lengths, self.step, SORTED_STEPS, self.order))


class CompletionTrainer(Trainer):
    """Trainer whose batches hold examples of like length and whose logits are formed for completions only.

    The loss is the mean over the completion tokens of a step, as Trainer's own. Everything else (optimizer,
    schedule, clipping, precision, devices) is Trainer's.

    Args:
        model: trained in place.
        examples: of one subset.
        training_config: epochs, examples a step, schedule, seed.
        learning_rate: its peak.
        meter: charged for every batch.
        micro_batch: examples at once, a divisor of the protocol's batch; gradients add up to the same step.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        examples: Sequence[Encoded],
        training_config: TrainingConfig,
        learning_rate: float,
        meter: FlopMeter,
        micro_batch: int,
    ) -> None:
        self.meter = meter
        with tempfile.TemporaryDirectory() as unused:
            arguments = TrainingArguments(
                output_dir=unused,
                num_train_epochs=training_config.num_train_epochs,
                per_device_train_batch_size=micro_batch,
                gradient_accumulation_steps=training_config.per_device_train_batch_size // micro_batch,
                learning_rate=learning_rate,
                lr_scheduler_type="linear",
                warmup_steps=training_config.warmup_ratio,
                weight_decay=training_config.weight_decay,
                seed=training_config.seed,
                bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=torch.cuda.is_available(),
            )
        super().__init__(
            model=model, args=arguments, train_dataset=list(examples), data_collator=partial(collate, training=True)
        )
        self.remove_callback(PrinterCallback)

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
        self.meter.charge(inputs, training=True)
        tokens = counted(inputs, self.meter.encoder_decoder) if num_items_in_batch is None else num_items_in_batch
        loss = token_nats(model, inputs).sum() / tokens
        if not torch.isfinite(loss):
            raise Diverged(f"the training loss became {loss.item():g} at step {self.state.global_step + 1}")
        return loss
