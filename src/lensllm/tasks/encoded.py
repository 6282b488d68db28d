"""An example as one model reads it, and how that model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lensllm.errors import InputError
from lensllm.tasks.chats.template import ChatTemplate
from lensllm.tasks.conversation import Chat, Conversation
from lensllm.tasks.task import Example

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """One example for one model.

    Attributes:
        input_ids: what the model reads; for an encoder-decoder, what the encoder reads.
        labels: what is counted: for a causal model as long as `input_ids`, -100 where nothing is; for an
            encoder-decoder what the decoder writes.
        n_bytes: bytes of the text that is counted.
        n_lost: those of them that the labels do not give back.
        train_labels: labels of training where that learns more than is counted (a template's own words); None where it
            learns the same.
    """

    input_ids: list[int]
    labels: list[int]
    n_bytes: int
    n_lost: int = 0
    train_labels: list[int] | None = None

    @property
    def n_targets(self) -> int:
        """Number of tokens that the loss counts."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class Fitted:
    """What became of one example.

    Attributes:
        encoded: None if what is to be learned does not fit the model.
        tokens: number of tokens that are counted.
        cut: whether the prompt lost its beginning.
        dropped: exchanges that a conversation lost at its beginning.
    """

    encoded: Encoded | None
    tokens: int
    cut: bool = False
    dropped: int = 0


@dataclass(frozen=True)
class Reader:
    """How one model reads examples.

    Attributes:
        tokenizer: of the model.
        encoder_decoder: whether the prompt is read by an encoder of its own.
        max_length: tokens that the model reads at once.
        model_name: for messages.
        vocabulary: number of the model's embeddings, which no id may reach; None if not known.
        chat: whether pairs are written as conversations.
        ends: ids that end what the model writes, beside the tokenizer's eos.
    """

    tokenizer: Any
    encoder_decoder: bool
    max_length: int
    model_name: str = "the model"
    vocabulary: int | None = None
    chat: Chat = "auto"
    ends: tuple[int, ...] = ()

    @cached_property
    def template(self) -> ChatTemplate:
        """How conversations are written."""
        return ChatTemplate(self.tokenizer, self.ends, start=not self.encoder_decoder)

    def conversation(self, example: Example) -> Conversation | None:
        """The conversation that the model reads in place of an example; None if it reads plain text."""
        if example.conversation is not None:
            return example.conversation
        if not example.prompt.strip() or self.chat == "off" or (self.chat == "auto" and not self.template.own):
            return None
        return Conversation.of_pair(example.prompt, example.completion)

    def check_ids(self, rows: Sequence[list[int]]) -> None:
        """Compare ids with the number of embeddings.

        Raises:
            InputError: naming the highest if the model has no embedding for it.
        """
        highest = max((max(row) for row in rows if row), default=0)
        if self.vocabulary and highest >= self.vocabulary:
            raise InputError(
                f"{self.model_name} has {self.vocabulary:,} embeddings and its tokenizer gives the token "
                f"{self.tokenizer.convert_ids_to_tokens(highest)!r} the id {highest:,}: resize the embeddings and "
                "train the model with them, or take the tokenizer that it was trained with"
            )


def collate(batch: Sequence[Encoded], pad_token_id: int = 0, *, training: bool = False) -> dict[str, Tensor]:
    """Pad on the right to the longest: `input_ids`, `attention_mask` and `labels`, each (batch, length).

    Args:
        batch: examples.
        pad_token_id: what `input_ids` are padded with.
        training: whether the labels are those of training.
    """

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        longest = max(map(len, rows))
        return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])

    labels = [(one.train_labels or one.labels) if training else one.labels for one in batch]
    return {
        "input_ids": padded([one.input_ids for one in batch], pad_token_id),
        "attention_mask": padded([[1] * len(one.input_ids) for one in batch], 0),
        "labels": padded(labels, IGNORED),
    }
