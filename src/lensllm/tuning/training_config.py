"""How a run is trained: one protocol for the whole ladder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lensllm.tasks.conversation import Chat

Dtype = Literal["float32", "bfloat16"]
Checkpointing = Literal["auto", "on", "off"]
Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
]
"""Those of transformers' schedules that need no setting of their own."""
Optimizer = Literal[
    "adamw_torch_fused", "adamw_torch", "adafactor", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"
]
"""The last three are bitsandbytes'."""

AS_BEFORE = ("gradient_accumulation_steps", "learning_rate", "lr_scheduler_type", "max_grad_norm", "optim", "dtype")
"""Settings that the first version did not have: by default everything is as it was."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings shared by every run of a selection, whatever the candidate and the number of examples.

    Nothing here depends on the number of examples: a rule that changes along the ladder (a least number of
    steps, say) puts a kink into every curve, and a law fitted through a kink forecasts wrongly.

    Attributes:
        num_train_epochs: passes over the subset.
        per_device_train_batch_size: examples at once; fewer are, and the steps stay the same, where memory is short.
        gradient_accumulation_steps: so many times as many examples make a step.
        learning_rate: its peak for every candidate and size; None to choose it.
        learning_rate_trials: the learning rates tried at the first rung, as multiples of `Method.base_learning_rate`,
            or of `learning_rate` where that is given; the one with the lowest validation loss is kept.
        learning_rate_backoff: a larger rung whose validation loss is not below the rung's before is trained once more
            at this multiple of its learning rate, and the better of the two is kept from there on; not where
            `learning_rate` is given.
        lr_scheduler_type: how the learning rate falls after warming up; `linear`, to 0, as in Trainer.
        warmup_ratio: part of the steps over which the learning rate rises.
        weight_decay: of the optimizer.
        max_grad_norm: gradients are scaled down to this length; 1 as in Trainer.
        optim: the optimizer; Trainer's own default.
        dtype: what products are computed in. With bfloat16 weights that stay as they are (LoRA's) are held in it, too;
            weights that are trained are held in float32.
        gradient_checkpointing: whether activations are formed anew in the backward pass; `auto` where memory does not
            suffice without.
        max_test_examples: test examples measured after each run, the first of the test split.
        max_validation_examples: validation examples that choose a learning rate.
        max_length: tokens an example may have; longer prompts lose their beginning, longer conversations their
            oldest turns.
        chat: whether pairs of prompt and completion are written in the model's chat template: `auto` where it has
            one, `on` always (models without one get the default), `off` never.
        seed: order of the training examples.
        subset_seed: the permutation that the nested subsets are prefixes of.
    """

    num_train_epochs: int = 3
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    learning_rate: float | None = None
    learning_rate_trials: tuple[float, ...] = (0.1, 0.3, 1.0)
    learning_rate_backoff: float = 0.3
    lr_scheduler_type: Scheduler = "linear"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    optim: Optimizer = "adamw_torch_fused"
    dtype: Dtype = "float32"
    gradient_checkpointing: Checkpointing = "auto"
    max_test_examples: int = 300
    max_validation_examples: int = 100
    max_length: int = 1024
    chat: Chat = "auto"
    seed: int = 0
    subset_seed: int = 0

    @property
    def train_batch_size(self) -> int:
        """Examples a step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    def steps(self, examples: int) -> int:
        """Optimizer steps of a run.

        >>> TrainingConfig().steps(50)
        21
        """
        return self.num_train_epochs * -(-examples // self.train_batch_size)

    def spec(self) -> dict[str, Any]:
        """The settings that change what a run measures, which are part of its key.

        Gradient checkpointing changes nothing but time and memory. Settings of `AS_BEFORE` are left out where they have
        their default, so that records of before are found.

        >>> sorted(TrainingConfig().spec().keys() ^ TrainingConfig(dtype="bfloat16").spec().keys())
        ['dtype']
        """
        said = asdict(self)
        usual = {name for name in AS_BEFORE if said[name] == getattr(type(self), name)}
        return {name: value for name, value in said.items() if name not in usual and name != "gradient_checkpointing"}
