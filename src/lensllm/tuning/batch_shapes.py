"""The shapes of a task's batches as one candidate reads it: the longest ones, and an average example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.tasks import Example, Task
from lensllm.tasks.encode import encode_split
from lensllm.tasks.encoded import Encoded, Reader, collate
from lensllm.tuning.attempts import Attempt, attempts
from lensllm.tuning.loss import first_labelled, keeps_logits, most_at_once
from lensllm.tuning.reader import reader_of
from lensllm.tuning.training_config import TrainingConfig

LOOKED_AT = 256
"""Examples that are encoded to find the longest, those with the most characters, and as many for the average."""
EVALUATED = 32
"""Examples of a batch of evaluation (`lensllm.tuning.loss.evaluate`)."""


@dataclass(frozen=True)
class Shape:
    """A batch, padded.

    Attributes:
        rows: examples.
        length: tokens that each has, or that the encoder reads of it.
        kept: positions of which logits are formed, or that the decoder writes.
    """

    rows: int
    length: int
    kept: int


class BatchShapes:
    """How long a task's examples are for a candidate.

    Args:
        candidate: whose tokenizer is used.
        task: fitted to all candidates.
        training_config: examples a step, longest example, how many examples are measured.

    Raises:
        InputError: if its tokenizer cannot be loaded or no example fits it.
    """

    def __init__(self, candidate: Candidate, task: Task, training_config: TrainingConfig) -> None:
        self._causal = not candidate.encoder_decoder
        reader = reader_of(candidate, training_config)
        measured = [*task.test[: training_config.max_test_examples]]
        measured += task.validation[: training_config.max_validation_examples]
        self._training = _longest(task.train, reader)
        self._measured = _longest(measured, reader)
        subset = task.subset(min(LOOKED_AT, len(task.train)), training_config.subset_seed)
        self._average = encode_split(subset, reader).examples
        if not (self._training and self._measured and self._average):
            raise InputError("no example of a split fits it")
        self._config = training_config

    @property
    def longest(self) -> int:
        """Tokens of the longest training example, of those with the most characters."""
        return max((_size(one) for one in self._training), default=1)

    def training(self, model: Any) -> list[tuple[Attempt, Shape]]:
        """What a run would try, one after the other, and the longest batch of each.

        Raises:
            InputError: if gradient checkpointing is asked for and the model cannot do it.
        """
        tried = attempts(model, self._training, self._config)
        return [(one, self._shape(self._training[: one.micro_batch], model, training=True)) for one in tried]

    def evaluation(self, model: Any) -> Shape:
        """The longest batch that is measured."""
        examples = self._measured[:EVALUATED][::-1]
        rows = most_at_once(model, examples)
        return self._shape(examples[-rows:], model, training=False)

    def average(self, model: Any) -> list[Shape]:
        """Training examples one by one, the first of the nested subsets."""
        return [self._shape([one], model, training=True) for one in self._average]

    def _shape(self, examples: Sequence[Encoded], model: Any, *, training: bool) -> Shape:
        batch = collate(examples, training=training)
        rows, length = batch["input_ids"].shape
        kept = batch["labels"].shape[1]
        if self._causal and keeps_logits(model):
            kept = length - first_labelled(batch["labels"])
        return Shape(rows, length, kept)


def _longest(examples: Sequence[Example], reader: Reader) -> list[Encoded]:
    """Encoded, the longest first, of those with the most characters."""
    found = sorted(examples, key=lambda one: len(one.prompt) + len(one.completion), reverse=True)
    return sorted(encode_split(found[:LOOKED_AT], reader).examples, key=_size, reverse=True)


def _size(one: Encoded) -> int:
    return len(one.input_ids) + len(one.labels)
