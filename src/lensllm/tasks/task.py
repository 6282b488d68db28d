"""A task: examples to train on, to choose settings with, and to measure with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Example:
    """A prompt and the completion to learn; plain text is a completion with an empty prompt."""

    prompt: str
    completion: str

    @property
    def n_bytes(self) -> int:
        """Bytes of the completion in UTF-8, the unit that makes tokenizers comparable."""
        return len(self.completion.encode())


@dataclass(frozen=True)
class Task:
    """Training, validation and test examples of one task.

    Attributes:
        name: how the task is called in tables.
        train: examples to fine-tune on; the full data size is `len(train)`.
        validation: examples that choose learning rates; never trained on, never reported.
        test: examples whose loss is reported and ranked by; never used for any choice.
    """

    name: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]

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
                digest.update(json.dumps([example.prompt, example.completion]).encode())
            digest.update(b"\x00")
        return digest.hexdigest()
