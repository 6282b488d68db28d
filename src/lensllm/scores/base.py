"""What every score is: a number for each answer, and one number with its error for all of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lensllm.scores.asked import Asked
from lensllm.scores.record import ScoreValue

PSEUDO = 2
"""Answers of each kind added to a share before its error is taken (Agresti and Coull 1998), so that 0 of 271 right has
an error, too."""


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        prompt: as text; of a conversation the turns before the answer, a line each.
        completion: what it wrote, without control tokens, or the label that it chose.
        reference: what it should have written.

    >>> Answer("1 plus 1 is", " 3", " 2").completion
    ' 3'
    """

    prompt: str
    completion: str
    reference: str


class Score(ABC):
    """A score of answers, larger is better.

    Attributes:
        name: how it is called in tables and on the command line.
        unit: what it is, in words.
        floor: the lowest value there is.
        ceiling: the highest.

    >>> class Short(Score):
    ...     name, unit = "short", "share of answers below ten characters"
    ...     def values(self, answers):
    ...         return [float(len(one.completion) < 10) for one in answers]
    >>> Short().of([Answer("What?", "This.", ""), Answer("Why?", "For many reasons.", "")]).value
    0.5
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    floor: ClassVar[float] = 0.0
    ceiling: ClassVar[float] = 1.0

    @abstractmethod
    def values(self, answers: Sequence[Answer]) -> list[float]:
        """A value for each answer.

        Raises:
            ScoreFailed: if there is none for some of them.
        """

    def of(self, answers: Sequence[Answer], labels: Sequence[str] = ()) -> ScoreValue:
        """The mean over answers, with its standard error; `labels` are those of the task, if it has any."""
        try:
            return mean_of(self.values(answers))
        except ScoreFailed as failure:
            return ScoreValue(examples=len(answers), failed=failure.count, error=str(failure))

    def chooses(self, labels: Sequence[str]) -> bool:
        """Whether it looks at the label that a model finds likeliest, and nothing has to be generated."""
        return False

    def lacks(self, asked: Sequence[Asked], labels: Sequence[str]) -> str:
        """What the score needs and the task has not, in a sentence; empty if it has all."""
        return ""

    def spec(self) -> list[Any]:
        """What tells it from other scores, in types that JSON knows: part of a run's key."""
        return [self.name]


class ScoreFailed(ValueError):
    """Some answers have no value.

    Attributes:
        count: how many.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def mean_of(values: Sequence[float]) -> ScoreValue:
    """The mean m of n values and its standard error.

    Where all are 0 or 1 that of a share, sqrt(p (1 - p) / (n + 4)) with p = (k + 2) / (n + 4) for k ones; else their
    standard deviation over sqrt(n), NaN for one value.

    >>> mean_of([1.0, 0.0, 1.0, 1.0]).value
    0.75
    >>> round(mean_of([0.0] * 271).standard_error, 4)
    0.0051
    """
    n, found = len(values), np.asarray(values, dtype=float)
    if not n:
        return ScoreValue(error="there is no answer")
    mean = math.fsum(values) / n
    if set(values) <= {0.0, 1.0}:
        share = (math.fsum(values) + PSEUDO) / (n + 2 * PSEUDO)
        return ScoreValue(mean, math.sqrt(share * (1 - share) / (n + 2 * PSEUDO)), n)
    return ScoreValue(mean, float(np.std(found, ddof=1)) / math.sqrt(n) if n > 1 else math.nan, n)
