"""Examples to token ids and labels: conversations by the model's chat template, all others as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lensllm.errors import InputError
from lensllm.tasks.chats.encode import encode_chats
from lensllm.tasks.encoded import Encoded, Fitted, Reader
from lensllm.tasks.plain import encode_plain, ends
from lensllm.tasks.task import Example
from lensllm.text import counted

MOST_LEFT_OUT = 0.1
MOST_LOST = 0.05
"""Share of the learned bytes that a tokenizer may lose; docs/decisions.md says why."""


@dataclass(frozen=True)
class EncodedSplit:
    """Examples for one model, and what did not fit it.

    Attributes:
        examples: those that fit, in their order.
        prompts_cut: how many of them lost the beginning of their prompt.
        dropped: place, from 0, of each conversation that lost its oldest exchanges -> how many.
        left_out: places, from 0, of the examples of which what is learned is too long alone.
        read: number of examples given.
        longest: tokens of the longest completion that was left out.
        room: tokens that a completion may have.
    """

    examples: list[Encoded] = field(default_factory=list)
    prompts_cut: int = 0
    dropped: dict[int, int] = field(default_factory=dict)
    left_out: tuple[int, ...] = ()
    read: int = 0
    longest: int = 0
    room: int = 0


def encode_split(examples: Sequence[Example], reader: Reader) -> EncodedSplit:
    """All examples that fit. A prompt that does not loses its beginning, a conversation its oldest exchanges.

    Raises:
        InputError: if the tokens lose more than `MOST_LOST` of the bytes to be learned; if the model has no
            embedding for a token; or if the template cannot write a conversation.
    """
    conversations = {i: said for i, example in enumerate(examples) if (said := reader.conversation(example))}
    plain = [example for i, example in enumerate(examples) if i not in conversations]
    texts = iter(encode_plain(plain, reader)) if plain else iter(())
    chats = iter(encode_chats(examples, conversations, reader))
    fitted = [next(chats) if i in conversations else next(texts) for i in range(len(examples))]
    _check_lost(examples, fitted, reader.model_name)
    left_out = tuple(i for i, one in enumerate(fitted) if one.encoded is None)
    start, eos = ends(reader.tokenizer)
    return EncodedSplit(
        [one.encoded for one in fitted if one.encoded is not None],
        sum(one.cut for one in fitted),
        {i: one.dropped for i, one in enumerate(fitted) if one.dropped},
        left_out,
        len(examples),
        max((fitted[i].tokens for i in left_out), default=0),
        reader.max_length - len(eos) - (0 if reader.encoder_decoder else len(start)),
    )


def encode_with(examples: Sequence[Example], reader: Reader, most_left_out: float = MOST_LEFT_OUT) -> list[Encoded]:
    """The examples that fit, as `encode_split` makes them.

    Args:
        examples: texts, pairs and conversations.
        reader: of the model.
        most_left_out: part of the learned bytes that may be left out; 0 for a test split, on which all candidates
            have to be measured alike.

    Raises:
        InputError: if more is left out, naming the first example and how many there are; or as `encode_split`.
    """
    made = encode_split(examples, reader)
    whole = sum(example.n_bytes for example in examples)
    lost = sum(examples[i].n_bytes for i in made.left_out)
    if made.left_out and (lost > most_left_out * whole or not made.examples):
        first = examples[made.left_out[0]]
        where = f"{first.place}, " if first.place else ""
        tokens = encode_split([first], reader).longest
        raise InputError(
            f"the completion of example {made.left_out[0] + 1} ({where}{first.completion[:40]!r}...) has {tokens} "
            f"tokens, and {reader.model_name} has room for {made.room}: shorten it, or leave it or the model out "
            f"({len(made.left_out):,} of {counted(len(examples), 'example')} do not fit)"
        )
    dropped = sum(examples[i].learned_bytes_in_oldest(n) for i, n in made.dropped.items())
    if dropped > most_left_out * whole:
        raise InputError(
            f"{len(made.dropped):,} of {counted(len(examples), 'conversation')} would lose learned turns, as "
            f"{reader.model_name} reads {reader.max_length:,} tokens at once: leave the model out, give every "
            "candidate that length with --max-length, or learn the last turns only with --learn last"
        )
    return made.examples


def encode(
    examples: Sequence[Example], tokenizer: Any, *, encoder_decoder: bool, max_length: int, **options: Any
) -> list[Encoded]:
    """`encode_with` a tokenizer.

    Args:
        examples: texts, pairs and conversations.
        tokenizer: of the model.
        encoder_decoder: whether the prompt is read by an encoder of its own.
        max_length: tokens that the model reads at once.
        options: the other fields of `Reader`.
    """
    return encode_with(examples, Reader(tokenizer, encoder_decoder, max_length, **options))


def _check_lost(examples: Sequence[Example], fitted: Sequence[Fitted], model_name: str) -> None:
    lost = [one.encoded.n_lost if one.encoded else 0 for one in fitted]
    share = sum(lost) / max(sum(example.n_bytes for example in examples), 1)
    if share > MOST_LOST:
        worst = max(range(len(lost)), key=lambda i: lost[i] / max(examples[i].n_bytes, 1))
        raise InputError(
            f"the tokenizer of {model_name} loses {share:.1%} of the bytes to be learned (most in example "
            f"{worst + 1}, {examples[worst].completion[:40]!r}): what it never has to predict would count in its "
            f"favour, and up to {MOST_LOST:.0%} is allowed"
        )
