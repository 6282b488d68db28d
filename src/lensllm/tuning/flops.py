"""Floating-point operations of a model, measured once with torch's counter and then charged batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from lensllm.tuning import loss
from lensllm.tuning.loss import first_labelled, keeps_logits
from lensllm.tuning.used_parameters import used_parameters

Floats = NDArray[np.float64]

PROBED = [(8, 8), (16, 8), (16, 16), (32, 8), (32, 32), (24, 16), (48, 24)]
CHECKED = [(64, 8), (64, 64), (128, 32), (512, 64), (1024, 512)]
TRUSTED = 0.25
"""How far the count may be from 2 N a token, beside what attention adds."""


class FlopMeter:
    """Counts the FLOPs of a model's forward and backward passes from the shapes of its batches.

    The matrix products of a transformer grow as a polynomial of degree two in the lengths: for a causal model
    that reads T positions and forms logits at K of them, a T + b T^2 + c K an example; for an encoder-decoder
    that reads T and writes K, a T + b T^2 + c K + d K^2 + e T K. The coefficients are solved from what
    `torch.utils.flop_counter.FlopCounterMode` counts on a few short examples, once a model, with attention and
    experts as plain matrix products, which it knows. A product with a matrix in 4 bits is charged as the same product
    without; unpacking the matrix is not charged.

    What it does not know (kernels of its own, chunks that are padded) would be charged wrongly. So the polynomial is
    held against 2 N a token at real lengths, N the parameters that a token is multiplied with: where the part that
    grows with the length differs from them by more than a quarter, or the part that grows with its square is more than
    attention can be, 2 N a token forward and 2 + s times that in training are charged in its place, s the share of
    them that is trained. A cost is never negative.

    Args:
        model: any causal or encoder-decoder model of transformers; left as it was.

    Attributes:
        total: FLOPs charged so far.
        tokens: read in training so far.
        estimated: why 2 N a token is charged and not a count; empty where it is the count.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.encoder_decoder = bool(model.config.is_encoder_decoder)
        self._keeps_logits = keeps_logits(model)
        self._vocabulary = loss.vocabulary(model)
        self._used = used_parameters(model)
        self._forward, self._training = np.zeros(0), np.zeros(0)
        self.estimated = self._fit(model)
        self.total = 0.0
        self.tokens = 0

    def charge(self, batch: dict[str, Tensor], *, training: bool, checkpointing: bool = False) -> None:
        """Add one forward pass over the batch, with its backward pass if training, and one more with checkpointing.

        Logits that are formed in parts are formed twice in training.
        """
        rows, length = batch["input_ids"].shape
        kept = batch["labels"].shape[1]
        if not self.encoder_decoder:
            kept = length - first_labelled(batch["labels"]) if self._keeps_logits else length
        if training:
            self.tokens += int(batch["attention_mask"].sum())
        self.total += rows * self.of(length, kept, training=training)
        if training and rows * kept * self._vocabulary > loss.MOST_LOGITS:
            self.total += rows * kept * 2 * self._used.head
        if checkpointing:
            self.total += rows * self.of(length, kept, training=False)

    def charge_generation(self, rows: int, length: int, new: int) -> None:
        """Add writing `new` tokens behind prompts of this length: a pass over the prompt, then a token at a time.

        With keys and values kept, token k is multiplied with the parameters once and with the keys of all before it:
        a T + b T^2 + c, then a + b (T + k) + c for each k from 1 to new - 1; for an encoder-decoder a T + b T^2, then
        c + d k + e T for each k from 1 to new.
        """
        if self.estimated:
            used = self._used.linear(length, new if self.encoder_decoder else 1)
            self.total += rows * (used if self.encoder_decoder else used + (new - 1) * self._used.linear(1, 1))
            return
        terms = generation_terms(length, new, self._keeps_logits, self.encoder_decoder)
        self.total += rows * max(float(terms @ self._forward), 0.0)

    def of(self, length: int, kept: int, *, training: bool) -> float:
        """FLOPs of one example of this length with logits at `kept` positions."""
        if self.estimated:
            return (self._used.passes if training else 1) * self._used.linear(length, kept)
        terms = pass_terms(length, kept, self.encoder_decoder)
        return max(float(terms @ (self._training if training else self._forward)), 0.0)

    def _fit(self, model: PreTrainedModel) -> str:
        """Solve for the coefficients; why they are not to be trusted, or nothing."""
        try:
            counts = np.array([_count(model, *shape) for shape in PROBED], dtype=float)
        except Exception as error:
            return f"torch's counter cannot run it ({type(error).__name__})"
        terms = np.array([pass_terms(*shape, self.encoder_decoder) for shape in PROBED])
        self._forward, self._training = np.linalg.lstsq(terms, counts, rcond=None)[0].T
        for length, kept in CHECKED:
            kept = kept if self.encoder_decoder or self._keeps_logits else length
            linear, quadratic = self._used.linear(length, kept), self._used.quadratic(length, kept)
            for coefficients, passes, attentions in ((self._forward, 1, 1), (self._training, self._used.passes, 3)):
                parts = pass_terms(length, kept, self.encoder_decoder) * coefficients
                straight = float(parts[0] + parts[2]) / passes
                curved = (float(parts.sum()) - float(parts[0] + parts[2])) / attentions
                least, most = -TRUSTED * linear, TRUSTED * linear + (1 + TRUSTED) * quadratic
                if abs(straight - linear) > TRUSTED * linear or not least <= curved <= most:
                    seen = (straight + curved) / linear
                    return f"torch's counter sees {seen:.2g} times as much at {length} tokens"
        return ""


def generation_terms(length: int, new: int, keeps_logits: bool, encoder_decoder: bool) -> Floats:
    """What the coefficients of a forward pass are multiplied with where so many tokens are written behind a prompt.

    Args:
        length: of the prompt.
        new: tokens written.
        keeps_logits: whether the prompt's logits are formed at its last position only.
        encoder_decoder: whether the prompt is read by an encoder.
    """
    steps = new * (new + 1) / 2
    if encoder_decoder:
        return np.array([length, length**2, new, steps, length * new], dtype=float)
    first = 1 if keeps_logits else length
    return np.array([length + new - 1, length**2 + (new - 1) * length + steps - new, first + new - 1], dtype=float)


def pass_terms(length: int, kept: int, encoder_decoder: bool) -> Floats:
    """The same for one pass: T, T^2 and K, and with a decoder K^2 and T K."""
    terms = [length, length**2, kept]
    return np.array(terms + ([kept**2, length * kept] if encoder_decoder else []), dtype=float)


@contextmanager
def plain_products(model: PreTrainedModel) -> Iterator[None]:
    """Attention and experts as plain matrix products, which torch's counter knows; put back afterwards."""
    attention = model.config._attn_implementation
    experts = getattr(model.config, "_experts_implementation", None)
    model.set_attn_implementation("eager")
    if experts is not None:
        model.set_experts_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(attention)
        if experts is not None:
            model.set_experts_implementation(experts)


def _count(model: PreTrainedModel, length: int, kept: int) -> tuple[int, int]:
    """FLOPs of a forward pass, and of a forward and a backward pass, over one example."""
    with plain_products(model):
        return _counted(model, length, kept)


def packed_products() -> dict[Any, Any]:
    """bitsandbytes' product with a 4-bit matrix of shape (N, K), where it is loaded: 2 N a number that comes in."""

    def product(x: Sequence[int], packed: Sequence[int], shape: Sequence[int], *rest: Any, **more: Any) -> int:
        return 2 * math.prod(x) * shape[0]

    known = getattr(torch.ops.bitsandbytes, "gemm_4bit", None)
    return {} if known is None else {known: product}


def _counted(model: PreTrainedModel, length: int, kept: int) -> tuple[int, int]:
    token = 1 if getattr(model.config.get_text_config(decoder=True), "pad_token_id", None) == 0 else 0
    ids = torch.full((1, length), token, dtype=torch.long, device=model.device)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids.new_full((1, kept), token)
    elif keeps_logits(model):
        inputs["logits_to_keep"] = kept
    known = packed_products()
    with FlopCounterMode(display=False, custom_mapping=known) as forward:
        logits = model(**inputs).logits
    with FlopCounterMode(display=False, custom_mapping=known) as backward:
        logits.sum().backward()
    model.zero_grad(set_to_none=True)
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()
