"""How much is trained at once: less and less until memory suffices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from lensllm.errors import InputError
from lensllm.tasks.encoded import Encoded
from lensllm.text import gibibytes
from lensllm.tuning.device_memory import device_memory
from lensllm.tuning.loss import most_at_once
from lensllm.tuning.training_config import TrainingConfig
from lensllm.tuning.weights_memory import TRAINED


@dataclass(frozen=True)
class Attempt:
    """What a try at training takes at once.

    Attributes:
        micro_batch: examples at once, a divisor of the examples a step.
        checkpointing: whether activations are formed anew in the backward pass.
    """

    micro_batch: int
    checkpointing: bool


def attempts(
    model: PreTrainedModel, examples: Sequence[Encoded], config: TrainingConfig, first: Attempt | None = None
) -> list[Attempt]:
    """What to try, one after the other: ever fewer examples at once, then one with gradient checkpointing.

    No more are tried than keep the logits of the longest examples within `MOST_LOGITS`.

    Args:
        model: to be trained.
        examples: of the training subset.
        config: the examples a step and at once; whether there is checkpointing.
        first: the first that is planned to fit; those before it are left out.

    Raises:
        InputError: if checkpointing is asked for and the model cannot do it.
    """
    can = bool(model.supports_gradient_checkpointing)
    if config.gradient_checkpointing == "on" and not can:
        raise InputError(f"{type(model).__name__} has no gradient checkpointing: leave --gradient-checkpointing out")
    batch = config.per_device_train_batch_size
    longest = sorted(examples, key=lambda one: len(one.labels), reverse=True)[:batch]
    fit = most_at_once(model, longest)
    most = fit if fit < len(longest) else batch
    sizes = [size for size in range(batch, 0, -1) if config.train_batch_size % size == 0 and size <= most]
    found = [Attempt(size, config.gradient_checkpointing == "on") for size in sizes]
    if config.gradient_checkpointing == "auto" and can:
        found.append(Attempt(1, True))
    return found[found.index(first) :] if first in found else found


def too_large(model: PreTrainedModel, examples: Sequence[Encoded], last: Attempt) -> InputError:
    """Why a candidate is given up, with the sizes."""
    room = device_memory()
    longest = max(len(one.input_ids) for one in examples)
    weights = sum(p.numel() * (TRAINED if p.requires_grad else p.element_size()) for p in model.parameters())
    way = " with gradient checkpointing" if last.checkpointing else ""
    return InputError(
        f"out of memory with one example at a time{way}: weights, gradients and optimizer take {gibibytes(weights)} "
        f"beside what is kept for the longest example ({longest:,} tokens), and {gibibytes(room.free)} of {room.kind} "
        "are free"
    )
