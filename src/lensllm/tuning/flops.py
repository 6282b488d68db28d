"""Floating-point operations of a model, measured once with torch's counter and then charged batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from lensllm.tuning.loss import first_labelled, keeps_logits

Floats = NDArray[np.float64]

PROBED = [(8, 8), (16, 8), (16, 16), (32, 8), (32, 32), (24, 16), (48, 24)]


class FlopMeter:
    """Counts the FLOPs of a model's forward and backward passes from the shapes of its batches.

    The matrix products of a transformer grow as a polynomial of degree two in the lengths: for a causal model
    that reads T positions and forms logits at K of them, a T + b T^2 + c K an example; for an encoder-decoder
    that reads T and writes K, a T + b T^2 + c K + d K^2 + e T K. The coefficients are solved from what
    `torch.utils.flop_counter.FlopCounterMode` counts on a few short examples, once a model.

    Args:
        model: any causal or encoder-decoder model of transformers; left as it was.

    Attributes:
        total: FLOPs charged so far.
        tokens: read in training so far.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.encoder_decoder = bool(model.config.is_encoder_decoder)
        self._keeps_logits = keeps_logits(model)
        attention = model.config._attn_implementation
        model.set_attn_implementation("eager")
        counts = np.array([_count(model, *shape) for shape in PROBED], dtype=float)
        model.set_attn_implementation(attention)
        terms = np.array([_terms(*shape, self.encoder_decoder) for shape in PROBED])
        self._forward, self._training = np.linalg.lstsq(terms, counts, rcond=None)[0].T
        self.total = 0.0
        self.tokens = 0

    def charge(self, batch: dict[str, Tensor], *, training: bool) -> None:
        """Add one forward pass over the batch, with its backward pass if training."""
        rows, length = batch["input_ids"].shape
        kept = batch["labels"].shape[1]
        if not self.encoder_decoder:
            kept = length - first_labelled(batch["labels"]) if self._keeps_logits else length
        if training:
            self.tokens += int(batch["attention_mask"].sum())
        terms = _terms(length, kept, self.encoder_decoder)
        self.total += rows * float(terms @ (self._training if training else self._forward))


def _terms(length: int, kept: int, encoder_decoder: bool) -> Floats:
    terms = [length, length**2, kept]
    return np.array(terms + ([kept**2, length * kept] if encoder_decoder else []), dtype=float)


def _count(model: PreTrainedModel, length: int, kept: int) -> tuple[int, int]:
    """FLOPs of a forward pass, and of a forward and a backward pass, over one example."""
    ids = torch.zeros((1, length), dtype=torch.long, device=model.device)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["labels"] = ids.new_zeros((1, kept))
    elif keeps_logits(model):
        inputs["logits_to_keep"] = kept
    with FlopCounterMode(display=False) as forward:
        logits = model(**inputs).logits
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    model.zero_grad(set_to_none=True)
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()
