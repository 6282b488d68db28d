"""A task: examples to train on, to choose settings with, and to measure with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from lensllm.tasks.conversation import Conversation, Learn


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to learn; plain text is a completion with an empty prompt.

    Attributes:
        prompt: what the model reads; of a conversation the turns before the first learned one.
        completion: what it should write; of a conversation the turns from there on.
        file: where the example was read from, with the unit it is counted in: `data.jsonl line`.
        number: of the line or row there; 0 where it came from no file.
        conversation: the turns; None for a plain text and for a pair.

    >>> example = Example("naïve means", " simple, naïve")
    >>> example.n_bytes, len(example.completion)
    (15, 14)
    """

    prompt: str
    completion: str
    file: str = field(default="", compare=False, repr=False)
    number: int = field(default=0, compare=False, repr=False)
    conversation: Conversation | None = field(default=None, repr=False)

    @classmethod
    def of(cls, conversation: Conversation) -> Example:
        """The example of a conversation."""
        return cls(conversation.prompt, conversation.completion, conversation=conversation)

    def as_conversation(self, learn: Learn) -> Example:
        """A pair as a user's turn and the assistant's; a conversation, or a text without a prompt, stays as it is."""
        if self.conversation is not None or not self.prompt:
            return self
        made = Conversation.of_pair(self.prompt, self.completion).learning(learn)
        return self if made is None else replace(self.of(made), file=self.file, number=self.number)

    def without_oldest(self, exchanges: int) -> Example:
        """Without so many of its conversation's oldest exchanges, as many as can be taken away."""
        left = self.conversation
        for _ in range(exchanges):
            left = (left and left.without_oldest()) or left
        if left is None or left is self.conversation:
            return self
        return replace(self.of(left), file=self.file, number=self.number)

    def learned_bytes_in_oldest(self, exchanges: int) -> int:
        """Bytes to be learned that stand in so many of the oldest exchanges."""
        return self.n_bytes - self.without_oldest(exchanges).n_bytes

    @cached_property
    def n_bytes(self) -> int:
        """Bytes to be learned in UTF-8, the unit that makes tokenizers comparable: of the completion, or of the
        learned turns' contents."""
        return self.conversation.n_bytes if self.conversation else len(self.completion.encode())

    @property
    def place(self) -> str:
        """Where it was read from: `data.jsonl line 41`; empty where it came from no file."""
        return f"{self.file} {self.number}" if self.number else ""


@dataclass(frozen=True)
class Task:
    """Training, validation and test examples of one task.

    Attributes:
        name: how the task is called in tables.
        train: examples to fine-tune on; the full data size is `len(train)`.
        validation: examples that choose learning rates; never trained on, never reported.
        test: examples whose loss is reported and ranked by; never used for any choice.
        notes: what was left out, not read, or is doubtful about the data, a sentence each. They are no part of the
            task: equal examples have equal fingerprints.
        files: absolute paths of what was read; none where the task came from the hub or a Python program.
        layout: how its rows were read, in words.

    >>> examples = tuple(Example(f"{i} plus 1 is", f" {i + 1}") for i in range(10))
    >>> task = Task("sums", examples[:7], examples[7:8], examples[8:])
    >>> [example.completion for example in task.subset(2)]
    [' 3', ' 5']
    >>> [example.completion for example in task.subset(4)]
    [' 3', ' 5', ' 4', ' 7']
    """

    name: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    files: tuple[str, ...] = field(default=(), compare=False, repr=False)
    layout: str = field(default="", compare=False, repr=False)

    def subset(self, size: int, seed: int = 0) -> list[Example]:
        """The first `size` training examples of one permutation, so that smaller subsets lie inside larger ones.

        Raises:
            ValueError: if there are fewer than `size` training examples.
        """
        if not 0 <= size <= len(self.train):
            raise ValueError(f"expected a size of 0 to {len(self.train)}, got {size}")
        return [self.train[i] for i in np.random.default_rng(seed).permutation(len(self.train))[:size]]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all examples in order: two tasks with the same fingerprint give the same results."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for example in split:
                turns = example.conversation.to_list() if example.conversation else []
                digest.update(json.dumps([example.prompt, example.completion, *turns]).encode())
            digest.update(b"\x00")
        return digest.hexdigest()
