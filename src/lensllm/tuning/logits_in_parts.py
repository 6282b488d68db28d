"""The loss of one long example without all of its logits at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel


def read_contiguously(head: nn.Module) -> None:
    """Let an output layer copy what it reads, which is a part of all positions, and not itself.

    torch multiplies a part that is not contiguous, where no gradient is asked for, with one copy of the weights for
    each example: for 32 examples and a vocabulary of 49,152 that was 1.7 GiB.
    """
    head.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))


def nats_in_parts(
    model: PreTrainedModel, inputs: dict[str, Any], labels: Tensor, positions: slice, most: int, ignored: int
) -> Tensor | None:
    """Negative log-probability of every label, its logits formed a few positions at a time and again going back.

    What the output layer reads is caught before it, and only the last position is let through. Where the model's
    logits are more than what that layer gives (scaled or capped, as Gemma's and Cohere's), nothing is gained.

    Args:
        model: any causal or encoder-decoder model of transformers.
        inputs: of its forward pass.
        labels: shape (batch, positions).
        positions: of those that the output layer reads, the ones that foretell a label.
        most: logits at once.
        ignored: label that is not counted.

    Returns:
        Shape (batch, positions), 0 where not counted; None if the model's logits are not its output layer's.
    """
    head, read, made = model.get_output_embeddings(), list[Tensor](), list[Tensor]()

    def catch(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        read.append(given[0])
        return (given[0][:, -1:].contiguous(),)

    if head is None:
        return None
    hooks = [head.register_forward_pre_hook(catch), head.register_forward_hook(lambda _, __, one: made.append(one))]
    try:
        last = model(**inputs).logits
    finally:
        for hook in hooks:
            hook.remove()
    if len(read) != 1 or not (last is made[0] or torch.equal(last, made[0].to(last.dtype))):
        return None
    hidden = read[0][:, positions]
    step = max(1, most // (last.shape[-1] * len(labels)))

    def of_part(some: Tensor, told: Tensor) -> Tensor:
        logits = head(some.flatten(0, 1)).float()
        return functional.cross_entropy(logits, told.flatten(), ignore_index=ignored, reduction="none").view(told.shape)

    parts = zip(hidden.split(step, dim=1), labels.split(step, dim=1), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([of_part(some, told) for some, told in parts], dim=1)
    return torch.cat([checkpoint(of_part, some, told, use_reentrant=False) for some, told in parts], dim=1)
