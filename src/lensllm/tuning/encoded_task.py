"""A task as one candidate reads it: token ids, made when they are needed and kept for the next run."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property

from transformers import PreTrainedModel

from lensllm.candidates import Candidate, Method
from lensllm.errors import InputError, TooFewExamples
from lensllm.tasks import Example, Task
from lensllm.tasks.encode import MOST_LEFT_OUT, EncodedSplit, encode_split, encode_with
from lensllm.tasks.encoded import Encoded, Reader
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.reader import reader_of
from lensllm.tuning.training_config import TrainingConfig


class EncodedTask:
    """A candidate beside a task: every example is tokenised once, and not before a run asks for it.

    Args:
        candidate: whose tokenizer and context length are used.
        task: the examples.
        training_config: says how many test and validation examples count, and the order of the nested subsets.
    """

    def __init__(self, candidate: Candidate, task: Task, training_config: TrainingConfig) -> None:
        self.candidate = candidate
        self.task = task
        self.training_config = training_config
        self._encoded: dict[str, list[Encoded]] = {}
        self._train: list[Encoded | None] = []
        self._meters: dict[str, FlopMeter] = {}

    def split(self, name: str) -> list[Encoded]:
        """The encoded examples of a split; `train` is in the order of the nested subsets.

        Raises:
            InputError: if a completion does not fit the model.
        """
        if name == "train":
            return self.train(len(self.task.train))
        if name not in self._encoded:
            most = {"test": self.training_config.max_test_examples}.get(
                name, self.training_config.max_validation_examples
            )
            self._encoded[name] = self._encode(getattr(self.task, name)[:most], name)
        return self._encoded[name]

    def train(self, count: int) -> list[Encoded]:
        """The first `count` training examples of the nested subsets.

        Raises:
            TooFewExamples: if the task has not got so many.
            InputError: if a completion does not fit the model.
        """
        available = len(self.task.train)
        if count > available:
            raise TooFewExamples(
                f"{count} examples asked for, and {self.task.name} has {available} training examples: ask for fewer",
                count,
                available,
            )
        subset = self.task.subset(count, self.training_config.subset_seed)
        if (known := len(self._train)) < count:
            made = self._train_part(subset[known:])
            fitting = iter(made.examples)
            self._train += [None if i in made.left_out else next(fitting) for i in range(made.read)]
        kept = [example for example in self._train[:count] if example is not None]
        return kept if len(kept) == count else self._encode(subset, "train")

    def meter(self, model: PreTrainedModel, method: Method | None = None) -> FlopMeter:
        """A meter at 0 for the candidate's model as a method prepared it, which is counted only once."""
        method = method or self.candidate.method
        known = str(method.spec())
        if known not in self._meters:
            self._meters[known] = FlopMeter(model)
        return copy(self._meters[known])

    def _train_part(self, examples: Sequence[Example]) -> EncodedSplit:
        try:
            return encode_split(examples, self.reader)
        except InputError as error:
            raise InputError(f"{self.task.name}, train split: {error}") from error

    @cached_property
    def reader(self) -> Reader:
        """What examples are encoded with."""
        return reader_of(self.candidate, self.training_config)

    def _encode(self, examples: Sequence[Example], split: str) -> list[Encoded]:
        """A few examples that do not fit are left out of training and validation, none of the test."""
        most = 0.0 if split == "test" else MOST_LEFT_OUT
        try:
            return encode_with(examples, self.reader, most)
        except InputError as error:
            raise InputError(f"{self.task.name}, {split} split: {error}") from error
