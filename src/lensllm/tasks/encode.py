"""Examples to token ids and labels: the loss counts completion tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lensllm.errors import InputError
from lensllm.tasks.task import Example

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """One example for one model.

    Attributes:
        input_ids: what the model reads; for an encoder-decoder, what the encoder reads.
        labels: for a causal model as long as `input_ids`, -100 on the prompt; for an encoder-decoder the
            completion.
        n_bytes: bytes of the completion text.
    """

    input_ids: list[int]
    labels: list[int]
    n_bytes: int

    @property
    def n_targets(self) -> int:
        """Number of tokens that the loss counts."""
        return sum(label != IGNORED for label in self.labels)


def encode(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    encoder_decoder: bool,
    max_length: int,
    model_name: str = "the model",
) -> list[Encoded]:
    """Tokenise prompt and completion apart, join them, and mask the prompt.

    A causal model reads `bos prompt completion eos` (eos in place of bos where there is none), so that every
    token of a plain text has something before it. An encoder-decoder reads `prompt eos` and writes
    `completion eos`. A prompt that does not fit loses its beginning; a completion is never cut.

    Raises:
        InputError: if a completion alone is longer than `max_length`, naming the example.
    """
    prompts = _tokens(tokenizer, [example.prompt for example in examples])
    completions = _tokens(tokenizer, [example.completion for example in examples])
    eos = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else eos
    reserved = len(eos) if encoder_decoder else len(start) + len(eos)
    encoded = []
    for i, (example, prompt, completion) in enumerate(zip(examples, prompts, completions, strict=True)):
        room = max_length - reserved - (0 if encoder_decoder else len(completion))
        if len(completion) + reserved > max_length:
            raise InputError(
                f"the completion of example {i + 1} ({example.completion[:40]!r}...) has {len(completion)} tokens, "
                f"and {model_name} has room for {max_length - reserved}: shorten it, or leave it or the model out"
            )
        prompt = prompt[max(len(prompt) - room, 0) :] if room else []
        if encoder_decoder:
            encoded.append(Encoded(prompt + eos, completion + eos, example.n_bytes))
        else:
            ids = start + prompt + completion + eos
            masked = len(start) + len(prompt)
            encoded.append(Encoded(ids, [IGNORED] * masked + ids[masked:], example.n_bytes))
    return encoded


def _tokens(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"] if texts else []


def collate(batch: Sequence[Encoded], pad_token_id: int = 0) -> dict[str, Tensor]:
    """Pad on the right to the longest: `input_ids`, `attention_mask` and `labels`, each (batch, length)."""

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        longest = max(map(len, rows))
        return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])

    return {
        "input_ids": padded([example.input_ids for example in batch], pad_token_id),
        "attention_mask": padded([[1] * len(example.input_ids) for example in batch], 0),
        "labels": padded([example.labels for example in batch], IGNORED),
    }
