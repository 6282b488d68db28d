"""A score of a run's answers as an objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lensllm.objectives.between import Between
from lensllm.scores import Score
from lensllm.tuning.run import Run


class ScoreObjective(Between):
    """The value of a score in a run, larger is better.

    Args:
        score: what is read.
        guess: what a guess has, where that is above the lowest value: 1 over the number of labels for an accuracy. It
            is no floor: models can be worse.

    >>> from lensllm.scores import ScoreValue, score_named
    >>> accuracy = ScoreObjective(score_named("accuracy"), guess=1 / 3)
    >>> run = Run("gpt2", 50, "done", scores={"accuracy": ScoreValue(0.6131, 0.0296, 271)})
    >>> accuracy.format(accuracy.read(run)[0])
    '0.613 accuracy'
    """

    def __init__(self, score: Score | Between, guess: float | None = None) -> None:
        super().__init__(score.name, score.unit, score.floor, score.ceiling)
        self.guess = score.floor if guess is None else guess

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows."""
        return {**super().to_dict(), "guess": self.guess}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> ScoreObjective:
        """What `to_dict` gave.

        Raises:
            LookupError, TypeError, ValueError: if something is missing or has a value of another type.
        """
        return ScoreObjective(Between.from_dict(fields), fields["guess"])

    def read(self, run: Run) -> tuple[float, float]:
        """Value and standard error; NaN where the run is not done, was not scored, or the score failed."""
        found = run.scores.get(self.name) if run.status == "done" else None
        return (found.value, found.standard_error) if found else (math.nan, math.nan)
