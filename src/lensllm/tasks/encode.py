"""Examples to token ids and labels: the loss counts completion tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lensllm.errors import InputError
from lensllm.tasks.task import Example
from lensllm.text import counted

IGNORED = -100
MOST_LEFT_OUT = 0.1


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


@dataclass(frozen=True)
class EncodedSplit:
    """Examples for one model, and what did not fit it.

    Attributes:
        examples: those that fit, in their order.
        prompts_cut: how many of them lost the beginning of their prompt.
        left_out: places, from 0, of the examples whose completion alone is too long.
        read: number of examples given.
        longest: tokens of the longest completion that was left out.
        room: tokens that a completion may have.
    """

    examples: list[Encoded] = field(default_factory=list)
    prompts_cut: int = 0
    left_out: tuple[int, ...] = ()
    read: int = 0
    longest: int = 0
    room: int = 0


def encode_split(
    examples: Sequence[Example], tokenizer: Any, *, encoder_decoder: bool, max_length: int
) -> EncodedSplit:
    """Tokenise prompt and completion apart, join them, and mask the prompt.

    A causal model reads `bos prompt completion eos` (eos in place of bos where there is none), so that every
    token of a plain text has something before it. An encoder-decoder reads `prompt eos` and writes
    `completion eos`. A prompt that does not fit loses its beginning; a completion is never cut: an example whose
    completion does not fit is left out and counted.
    """
    prompts = _tokens(tokenizer, [example.prompt for example in examples])
    completions = _tokens(tokenizer, [example.completion for example in examples])
    eos = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else eos
    reserved = len(eos) if encoder_decoder else len(start) + len(eos)
    encoded: list[Encoded] = []
    cut, longest = 0, 0
    left_out: list[int] = []
    for i, (example, prompt, completion) in enumerate(zip(examples, prompts, completions, strict=True)):
        room = max_length - reserved - (0 if encoder_decoder else len(completion))
        if len(completion) + reserved > max_length:
            left_out.append(i)
            longest = max(longest, len(completion))
            continue
        cut += len(prompt) > room
        prompt = prompt[max(len(prompt) - room, 0) :] if room else []
        if encoder_decoder:
            encoded.append(Encoded(prompt + eos, completion + eos, example.n_bytes))
        else:
            ids = start + prompt + completion + eos
            masked = len(start) + len(prompt)
            encoded.append(Encoded(ids, [IGNORED] * masked + ids[masked:], example.n_bytes))
    return EncodedSplit(encoded, cut, tuple(left_out), len(examples), longest, max_length - reserved)


def encode(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    encoder_decoder: bool,
    max_length: int,
    model_name: str = "the model",
    most_left_out: float = MOST_LEFT_OUT,
) -> list[Encoded]:
    """The examples that fit, as `encode_split` makes them.

    Args:
        examples: prompts and completions.
        tokenizer: of the model.
        encoder_decoder: what kind of model it is.
        max_length: tokens it may read at once.
        model_name: for messages.
        most_left_out: part of the completions' bytes that may be left out; 0 for a test split, on which all
            candidates have to be measured alike.

    Raises:
        InputError: if more is left out, naming the first example and how many there are.
    """
    made = encode_split(examples, tokenizer, encoder_decoder=encoder_decoder, max_length=max_length)
    if not made.left_out:
        return made.examples
    lost = sum(examples[i].n_bytes for i in made.left_out)
    if lost > most_left_out * sum(example.n_bytes for example in examples) or not made.examples:
        first = examples[made.left_out[0]]
        tokens = len(_tokens(tokenizer, [first.completion])[0])
        where = f"{first.place}, " if first.place else ""
        raise InputError(
            f"the completion of example {made.left_out[0] + 1} ({where}{first.completion[:40]!r}...) has {tokens} "
            f"tokens, and {model_name} has room for {made.room}: shorten it, or leave it or the model out "
            f"({len(made.left_out):,} of {counted(len(examples), 'example')} do not fit)"
        )
    return made.examples


def _tokens(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


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
