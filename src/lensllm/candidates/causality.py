"""Does a model predict the future from the past only?"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lensllm.candidates.configuration import first_line
from lensllm.candidates.decoder_inputs import decoder_inputs
from lensllm.errors import InputError

LENGTH = 12
ROUNDING = 1e-4
HALF_ROUNDING = 0.2
"""The same in 16 bits, where a length that takes another way through a product moves logits by some 0.01 of their
standard deviation, more with many layers; a model that reads the future moves them by about one."""


@torch.no_grad()
def earlier_logits_move(model: PreTrainedModel, length: int = LENGTH) -> float:
    """How far the logits before the last token move when that token is changed, and when it is cut off.

    For an encoder-decoder it is the last token that the decoder reads, the encoder reading the same text.

    Returns:
        max |logits - logits'| over all positions but the last, in units of the standard deviation of the logits:
        at most rounding (some 1e-6) for a model that reads the past only.
    """
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    ids = (torch.arange(length, device=model.device) * 7 + 2) % max(vocabulary, 1)
    changed = ids.clone()
    changed[-1] = (ids[-1] + 1) % vocabulary
    one, *others = (_logits(model, row)[: length - 1].double() for row in (ids, changed, ids[:-1]))
    spread = float(one.std())
    moved = max(float((one - other).abs().max()) for other in others)
    return 0.0 if spread == 0 else moved / spread


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Shape (T, V): those of a causal model that reads these tokens, or of a decoder that does."""
    row, options = ids[None], {"use_cache": False}
    if not model.config.is_encoder_decoder:
        return model(input_ids=row, attention_mask=torch.ones_like(row), **options).logits[0]
    source = (torch.arange(LENGTH, device=model.device) * 5 + 2)[None] % int(ids.max() + 1)
    return model(source, attention_mask=torch.ones_like(source), decoder_input_ids=row, **options).logits[0]


@torch.no_grad()
def padding_moves(model: PreTrainedModel, length: int = LENGTH) -> float:
    """How far the logits of a short example move when it is padded to the length of another, masked.

    Returns:
        As `earlier_logits_move`. 0 for a causal model, where what comes behind moves nothing once that was tried.
    """
    if not model.config.is_encoder_decoder:
        return 0.0
    long = (torch.arange(2 * length, device=model.device) * 7 + 2) % int(model.get_input_embeddings().weight.shape[0])
    source, labels = long[:length], long[length:]
    short, few = source[: length // 2], labels[: length // 2]
    nothing, masked = torch.zeros_like(source), torch.full_like(labels, -100)
    sources = torch.stack([source, torch.cat([short, nothing[len(short) :]])])
    targets = torch.stack([labels, torch.cat([few, masked[len(few) :]])])
    mask = torch.ones_like(sources)
    mask[1, len(short) :] = 0
    both = model(sources, attention_mask=mask, decoder_input_ids=decoder_inputs(model, targets), use_cache=False)
    ones = torch.ones_like(short)[None]
    alone = model(short[None], attention_mask=ones, decoder_input_ids=decoder_inputs(model, few[None]), use_cache=False)
    one, other = alone.logits[0].double(), both.logits[1, : len(few)].double()
    return float((one - other).abs().max() / one.std()) if one.std() > 0 else 0.0


def check_causal(model: PreTrainedModel) -> None:
    """Refuse a model that reads what it should predict, or padding; left as it was, in evaluation mode.

    Raises:
        InputError: if earlier logits move, are not finite, or the model cannot be run.
    """
    kind = model.config.model_type
    if model.config.is_encoder_decoder and getattr(model.config, "decoder_start_token_id", None) is None:
        raise InputError("config.json has no decoder_start_token_id, so its decoder cannot begin")
    try:
        moved, padded = earlier_logits_move(model), padding_moves(model)
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{kind} cannot be run on {LENGTH} tokens: {said}") from error
    if math.isnan(moved):
        raise InputError("its logits are not finite: its weights are damaged or come from a run that diverged")
    rounding = HALF_ROUNDING if model.get_input_embeddings().weight.dtype.itemsize == 2 else ROUNDING
    if moved > rounding:
        raise InputError(
            f"{kind} reads the tokens that it should predict (changing or cutting off the last one moves the logits "
            f"before it by {moved:.2g} standard deviations), so it cannot write text"
        )
    if not padded <= rounding:
        raise InputError(
            f"{kind} reads the padding behind a short example although it is masked (the logits move by {padded:.2g} "
            "standard deviations), so its losses would depend on what an example is measured beside"
        )
