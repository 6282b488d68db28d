"""What a decoder of its own reads to predict given labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def decoder_inputs(model: Any, labels: Tensor) -> Tensor:
    """The labels moved one place to the right behind the start token, as the model itself does when it gets labels.

    Architectures that have no method for it (Blenderbot, M2M-100) begin with `decoder_start_token_id`.

    Args:
        model: an encoder-decoder of transformers.
        labels: shape (batch, T), -100 where nothing is to be predicted; left as they are (FSMT would overwrite them).

    Returns:
        Shape (batch, T).
    """
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        return model.prepare_decoder_input_ids_from_labels(labels=labels.clone())
    start = torch.full_like(labels[:, :1], model.config.decoder_start_token_id)
    moved = torch.cat([start, labels[:, :-1]], dim=1)
    return moved.masked_fill(moved == -100, model.config.pad_token_id)
