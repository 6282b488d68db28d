"""Greedy generation in batches, whose padding changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from lensllm.candidates.decoder_inputs import decoder_inputs
from lensllm.errors import InputError
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import MOST_LOGITS, keeps_logits, vocabulary
from lensllm.tuning.memory import out_of_memory

BATCH = 32
ROUNDING = 1000
"""Roundings of a logit that padding may change it by."""
MOST_ROUNDING = 0.05
"""The same as a part of the largest logit: short floats have few digits."""


@dataclass(frozen=True)
class Prompt:
    """What is to be continued.

    Attributes:
        ids: tokens of the prompt, for an encoder-decoder all that the encoder reads.
        most: tokens that may be written.
    """

    ids: list[int]
    most: int


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Prompt],
    ends: Sequence[int],
    meter: FlopMeter,
    *,
    batch_size: int = BATCH,
    autocast: bool = False,
) -> list[list[int]]:
    """The likeliest next token, one after another, until an end token or as many as may be written.

    Prompts of like length are in one batch, padded on the left (on the right for an encoder). What a model writes does
    not depend on who is beside it: one whose logits padding changes gets batches of equal length. Settings of
    the folder's `generation_config.json` (sampling, penalties, forced tokens) are not used.

    Args:
        model: any causal or encoder-decoder model of transformers that can generate.
        prompts: what to go on from.
        ends: ids that end what is written.
        meter: charged for what is computed, padding included.
        batch_size: prompts at once; fewer where their logits would be many, halved while they do not fit into memory.
        autocast: compute products in bfloat16.

    Returns:
        The tokens written for each prompt, without the end token.

    Raises:
        InputError: if the model cannot generate.
    """
    if not model.can_generate():
        raise InputError(f"{type(model).__name__} cannot generate")
    model.eval()
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i].ids), prompts[i].most))
    written: list[list[int]] = []
    with _own_settings(model), torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
        precision = torch.bfloat16 if autocast else model.dtype
        padded = _padding_is_safe(model, [prompts[i] for i in order], precision, meter)
        while len(written) < len(order):
            waiting = [prompts[i] for i in order[len(written) : len(written) + batch_size]]
            try:
                batch = waiting[: at_once(model, waiting, padded)]
                written += _written(model, batch, ends, meter)
            except RuntimeError as error:
                if batch_size == 1 or not out_of_memory(error):
                    raise
                batch_size //= 2
    return [ids for _, ids in sorted(zip(order, written, strict=True))]


@contextmanager
def _own_settings(model: PreTrainedModel) -> Iterator[None]:
    """None of the folder's settings, which transformers puts in where ours say nothing; put back afterwards."""
    was = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = was


def at_once(model: PreTrainedModel, waiting: Sequence[Prompt], padded: bool) -> int:
    """How many of the first may be in one batch: of one limit, of one length if need be, their logits bounded."""
    one_row = model.config.is_encoder_decoder or keeps_logits(model)
    for count, prompt in enumerate(waiting):
        other = prompt.most != waiting[0].most or (not padded and len(prompt.ids) != len(waiting[0].ids))
        logits = (count + 1) * vocabulary(model) * (1 if one_row else len(prompt.ids))
        if count and (other or logits > MOST_LOGITS):
            return count
    return len(waiting)


def _written(model: PreTrainedModel, batch: Sequence[Prompt], ends: Sequence[int], meter: FlopMeter) -> list[list[int]]:
    inputs = _inputs(model, batch)
    made = model.generate(**inputs, generation_config=_settings(model, batch[0].most, ends))
    start = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    new = made[:, start:]
    meter.charge_generation(len(batch), inputs["input_ids"].shape[1], new.shape[1])
    stops = set(ends)
    rows = []
    for row in new.tolist():
        end = next((i for i, token in enumerate(row) if token in stops), len(row))
        rows.append(row[:end])
    return rows


def _settings(model: PreTrainedModel, most: int, ends: Sequence[int], **more: Any) -> GenerationConfig:
    if model.config.is_encoder_decoder:
        first = decoder_inputs(model, torch.zeros(1, 1, dtype=torch.long))
        more["decoder_start_token_id"] = int(first[0, 0])
    return GenerationConfig(
        max_new_tokens=most, do_sample=False, num_beams=1, eos_token_id=list(ends), pad_token_id=ends[0], **more
    )


def _inputs(model: PreTrainedModel, batch: Sequence[Prompt]) -> dict[str, Tensor]:
    longest = max(len(prompt.ids) for prompt in batch)
    ids, mask = [], []
    for prompt in batch:
        fill, read = [0] * (longest - len(prompt.ids)), [1] * len(prompt.ids)
        right = model.config.is_encoder_decoder
        ids.append(prompt.ids + fill if right else fill + prompt.ids)
        mask.append(read + fill if right else fill + read)
    return {
        name: torch.tensor(rows, device=model.device) for name, rows in (("input_ids", ids), ("attention_mask", mask))
    }


def _padding_is_safe(
    model: PreTrainedModel, ordered: Sequence[Prompt], precision: torch.dtype, meter: FlopMeter
) -> bool:
    """Whether the shortest prompt's first logits are the same alone and padded to the longest, but for rounding."""
    if not ordered or len(ordered[0].ids) == len(ordered[-1].ids):
        return True
    found = []
    for batch in ([ordered[0]], [ordered[0], ordered[-1]]):
        inputs = _inputs(model, batch)
        settings = _settings(model, 1, [0], output_logits=True, return_dict_in_generate=True)
        found.append(model.generate(**inputs, generation_config=settings).logits[0][0])
        meter.charge_generation(len(batch), inputs["input_ids"].shape[1], 1)
    alone, beside = found
    part = min(ROUNDING * torch.finfo(precision).eps, MOST_ROUNDING)
    return bool((alone - beside).abs().max() <= part * alone.abs().max())
