"""Examples to token ids and labels: the loss counts completion tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lensllm.errors import InputError
from lensllm.tasks.task import Example
from lensllm.tasks.tokens import continued_tokens, lost_bytes, text_tokens
from lensllm.text import counted

IGNORED = -100
MOST_LEFT_OUT = 0.1
MOST_LOST = 0.05
"""Share of the learned bytes that a tokenizer may lose; docs/decisions.md says why."""


@dataclass(frozen=True)
class Encoded:
    """One example for one model.

    Attributes:
        input_ids: what the model reads; for an encoder-decoder, what the encoder reads.
        labels: for a causal model as long as `input_ids`, -100 on the prompt; for an encoder-decoder the
            completion.
        n_bytes: bytes of the completion text.
        n_lost: those of them that the labels do not give back.
    """

    input_ids: list[int]
    labels: list[int]
    n_bytes: int
    n_lost: int = 0

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
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    encoder_decoder: bool,
    max_length: int,
    model_name: str = "the model",
    vocabulary: int | None = None,
) -> EncodedSplit:
    """Tokenise prompt and completion apart, join them, and mask the prompt.

    A causal model reads `bos prompt completion eos` (eos in place of bos where there is none), so that every
    token of a plain text has something before it. An encoder-decoder reads `prompt eos` and writes
    `completion eos`. Where there is no eos, bos ends a text, so that every candidate has to say that it is done.
    A prompt that does not fit loses its beginning; a completion is never cut: an example whose completion does not
    fit is left out and counted.

    Args:
        examples: to be encoded.
        tokenizer: of the model.
        encoder_decoder: whether the prompt is read by an encoder of its own.
        max_length: tokens that the model reads at once.
        model_name: for messages.
        vocabulary: number of the model's embeddings, which no id may reach; None if not known.

    Raises:
        InputError: if the tokens lose more than `MOST_LOST` of the completions' bytes; or if the model has no
            embedding for a token.
    """
    prompts = text_tokens(tokenizer, [example.prompt for example in examples])
    completions, lost = _completions(tokenizer, examples, encoder_decoder)
    _check_lost(examples, lost, model_name)
    ending = tokenizer.bos_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    eos = [ending] if ending is not None else []
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else eos
    _check_ids([*prompts, *completions, eos, start], tokenizer, vocabulary, model_name)
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
            encoded.append(Encoded(prompt + eos, completion + eos, example.n_bytes, lost[i]))
        else:
            ids = start + prompt + completion + eos
            masked = len(start) + len(prompt)
            encoded.append(Encoded(ids, [IGNORED] * masked + ids[masked:], example.n_bytes, lost[i]))
    return EncodedSplit(encoded, cut, tuple(left_out), len(examples), longest, max_length - reserved)


def encode(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    encoder_decoder: bool,
    max_length: int,
    model_name: str = "the model",
    vocabulary: int | None = None,
    most_left_out: float = MOST_LEFT_OUT,
) -> list[Encoded]:
    """The examples that fit, as `encode_split` makes them.

    Args:
        examples: prompts and completions.
        tokenizer: of the model.
        encoder_decoder: what kind of model it is.
        max_length: tokens it may read at once.
        model_name: for messages.
        vocabulary: number of the model's embeddings; None if not known.
        most_left_out: part of the completions' bytes that may be left out; 0 for a test split, on which all
            candidates have to be measured alike.

    Raises:
        InputError: if more is left out, naming the first example and how many there are; or as `encode_split`.
    """
    made = encode_split(
        examples,
        tokenizer,
        encoder_decoder=encoder_decoder,
        max_length=max_length,
        model_name=model_name,
        vocabulary=vocabulary,
    )
    if not made.left_out:
        return made.examples
    lost = sum(examples[i].n_bytes for i in made.left_out)
    if lost > most_left_out * sum(example.n_bytes for example in examples) or not made.examples:
        first = examples[made.left_out[0]]
        tokens = len(_completions(tokenizer, [first], encoder_decoder)[0][0])
        where = f"{first.place}, " if first.place else ""
        raise InputError(
            f"the completion of example {made.left_out[0] + 1} ({where}{first.completion[:40]!r}...) has {tokens} "
            f"tokens, and {model_name} has room for {made.room}: shorten it, or leave it or the model out "
            f"({len(made.left_out):,} of {counted(len(examples), 'example')} do not fit)"
        )
    return made.examples


def _completions(
    tokenizer: Any, examples: Sequence[Example], encoder_decoder: bool
) -> tuple[list[list[int]], list[int]]:
    """Tokens of each completion, and the bytes of it that they lose.

    It goes on from its prompt, unless there is none or a decoder of its own writes it.
    """
    tokens: list[list[int]] = [[] for _ in examples]
    lost = [0] * len(examples)
    for continued, tokenise in ((False, text_tokens), (True, continued_tokens)):
        places = [i for i, one in enumerate(examples) if continued == (bool(one.prompt) and not encoder_decoder)]
        texts = [examples[i].completion for i in places]
        if not texts:
            continue
        found = tokenise(tokenizer, texts)
        for i, ids, n in zip(places, found, lost_bytes(tokenizer, texts, found, continued=continued), strict=True):
            tokens[i], lost[i] = ids, n
    return tokens, lost


def _check_lost(examples: Sequence[Example], lost: Sequence[int], model_name: str) -> None:
    share = sum(lost) / max(sum(example.n_bytes for example in examples), 1)
    if share > MOST_LOST:
        worst = max(range(len(lost)), key=lambda i: lost[i] / max(examples[i].n_bytes, 1))
        raise InputError(
            f"the tokenizer of {model_name} loses {share:.1%} of the bytes to be learned (most in example "
            f"{worst + 1}, {examples[worst].completion[:40]!r}): what it never has to predict would count in its "
            f"favour, and up to {MOST_LOST:.0%} is allowed"
        )


def _check_ids(rows: Sequence[list[int]], tokenizer: Any, vocabulary: int | None, model_name: str) -> None:
    highest = max((max(row) for row in rows if row), default=0)
    if vocabulary and highest >= vocabulary:
        raise InputError(
            f"{model_name} has {vocabulary:,} embeddings and its tokenizer gives the token "
            f"{tokenizer.convert_ids_to_tokens(highest)!r} the id {highest:,}: resize the embeddings and train the "
            "model with them, or take the tokenizer that it was trained with"
        )


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
