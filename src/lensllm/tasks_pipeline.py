"""One example as each model reads it: its tokens, which are learned, and what was cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lensllm.candidates import admit_candidates
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.tasks import Example, read_task
from lensllm.tasks.encode import encode_split
from lensllm.tasks.encoded import IGNORED, Encoded, Reader
from lensllm.tuning.chat_notes import chat_notes
from lensllm.tuning.quiet import quiet
from lensllm.tuning.reader import reader_of

READ, LEARNED, COUNTED = "read", "learned", "learned and counted"


@dataclass(frozen=True)
class Token:
    """One token of an example.

    Attributes:
        id: in the model's vocabulary.
        text: what it stands for.
        use: whether it is only read; learned (a template's own words); or learned and counted in nats a byte.
    """

    id: int
    text: str
    use: str


@dataclass(frozen=True)
class ShownExample:
    """One example as one model reads it.

    Attributes:
        model: its name.
        tokens: in their order; for an encoder-decoder what the encoder reads, then what the decoder writes.
        notes: what was cut, and how the model reads conversations.
    """

    model: str
    tokens: tuple[Token, ...]
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[tuple[str, list[str]]]:
        """Runs of tokens of one use: the use, and the texts of the tokens."""
        return [(use, [one.text for one in run]) for use, run in groupby(self.tokens, key=lambda one: one.use)]

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        tokens = [{"id": one.id, "text": one.text, "use": one.use} for one in self.tokens]
        return {"model": self.model, "tokens": tokens, "notes": list(self.notes)}


def show_task(config: SelectConfig, example: int = 1) -> list[ShownExample]:
    """A training example as each model reads it.

    Args:
        config: the task, the models, and how they are read.
        example: which one, from 1, in the order of the file without what is held out.

    Raises:
        InputError: for a task or models that cannot be used, or if there is no such example.
    """
    task = read_task(config.task, **config.reading())
    found = admit_candidates(config.models, config.chat_template)
    if not 1 <= example <= len(task.train):
        raise InputError(f"example {example:,} is asked for, and there are {len(task.train):,} training examples")
    shown = []
    for candidate in found.admitted:
        with quiet():
            reader = reader_of(candidate, config.training_config())
            tokens, notes = _shown(task.train[example - 1], reader)
            shown.append(ShownExample(candidate.name, tokens, (*notes, *chat_notes(task, reader))))
    return [*shown, *[ShownExample(one.name, (), (f"refused: {one.reason}",)) for one in found.refused]]


def _shown(example: Example, reader: Reader) -> tuple[tuple[Token, ...], list[str]]:
    made = encode_split([example], reader)
    notes = []
    if made.left_out:
        notes.append(f"left out: what is learned has {made.longest:,} tokens, and there is room for {made.room:,}")
    if made.prompts_cut:
        notes.append(f"cut: the prompt lost its beginning to fit {reader.max_length:,} tokens")
    if made.dropped:
        notes.append(f"cut: {made.dropped[0]} of the oldest exchanges, to fit {reader.max_length:,} tokens")
    tokens = _tokens(made.examples[0], reader) if made.examples else ()
    return tokens, notes


def _tokens(encoded: Encoded, reader: Reader) -> tuple[Token, ...]:
    ids, counted = encoded.input_ids, encoded.labels
    learned = encoded.train_labels or counted
    if reader.encoder_decoder:
        ids, learned, counted = [*ids, *counted], *[[IGNORED] * len(ids) + counted] * 2
    uses = [
        COUNTED if c != IGNORED else LEARNED if k != IGNORED else READ for k, c in zip(learned, counted, strict=True)
    ]
    return tuple(Token(i, reader.tokenizer.decode([i]), use) for i, use in zip(ids, uses, strict=True))
