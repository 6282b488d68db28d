"""What a score is forecast to be: the one forecast, read in the unit of the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lensllm.arrays import Floats
from lensllm.curve_scores import Scores
from lensllm.curve_tables import read_score_table
from lensllm.curves import Curves
from lensllm.forecast import Forecast, with_zero_shot
from lensllm.objectives import Between
from lensllm.odds import odds_of
from lensllm.selectors import ScoresBesideLosses, Selector

LEVEL = 0.9
"""Of the intervals that are shown."""
SURELY = 0.8
"""Probability of the better score from which on a candidate is surely ahead of another: with less, the other has more
than the one chance in five that a choice by loss gives to what it cannot tell apart (`lensllm.selection`)."""
LEAST_APART = 0.005
"""Part of the range below which a difference of scores is none, as in a choice by score."""
LEAST_SIZES = 3
"""Sizes that the pool was scored at, below which nothing is forecast: as in the evidence."""


@dataclass(frozen=True)
class ScoreRow:
    """A candidate's score at the target size.

    Attributes:
        candidate: its name, as it is printed.
        model: its model.
        method: how it is tuned, "none" for a model that is used as it is.
        forecast: the score.
        interval: 90 % interval of what a run would measure.
        p_best: probability of the best score of all rows.
        expected_regret: expected score below the best's.
    """

    candidate: str
    model: str
    method: str
    forecast: float
    interval: tuple[float, float]
    p_best: float
    expected_regret: float


@dataclass(frozen=True)
class ScoreForecast:
    """A forecast of the odds of falling short, read as a score.

    Attributes:
        objective: the score, with floor and ceiling.
        forecast: joint paths of the odds (`Between.to_loss`); the best model that is not fine-tuned is among them.
        alone: the first by the scores' own curves, where the forecast has losses beside them; empty where it has none.

    >>> curves = Curves(("a", "b"), [0, 50, 100, 200], [[0.1, 0.5, 0.6, 0.7], [0.2, 0.5, 0.52, 0.55]])
    >>> made = ScoreForecast.of(curves, Between("exact_match"), 800)
    >>> for row in made.rows:
    ...     print(f"{row.candidate}: {row.forecast:.2f}, best with {row.p_best:.0%}")
    a: 0.78, best with 89%
    b: 0.68, best with 11%
    b (not fine-tuned): 0.20, best with 0%
    """

    objective: Between
    forecast: Forecast
    alone: str = ""

    @classmethod
    def of(
        cls, scores: Curves, objective: Between, target_size: float, selector: Selector | None = None
    ) -> ScoreForecast:
        """Forecast scores, which stand where a table of losses has losses.

        Args:
            scores: measured values and their standard errors.
            objective: the score.
            target_size: number of training examples.
            selector: makes the forecast; `ScoresBesideLosses` if None.

        Raises:
            InputError: as `Selector.forecast`.
        """
        odds = odds_of(scores, objective)
        made = with_zero_shot((selector or ScoresBesideLosses()).forecast(odds, target_size), odds)
        if selector or odds.beside is None:
            return cls(objective, made)
        own = replace(odds, beside=None)
        alone = with_zero_shot(ScoresBesideLosses().forecast(own, target_size), own)
        return cls(objective, made, alone.best)

    @cached_property
    def rows(self) -> tuple[ScoreRow, ...]:
        """From best to worst."""
        made, read = self.forecast, self.objective.from_loss
        mean, ends, samples = read(made.mean), read(made.interval(LEVEL)), read(made.samples)
        sign = 1 if self.objective.greater_is_better else -1
        regret = np.maximum(np.nanmax(sign * samples, axis=1, keepdims=True) - sign * samples, 0.0).mean(axis=0)
        return tuple(
            ScoreRow(
                made.candidates[k],
                made.models[k],
                made.methods[k],
                float(mean[k]),
                (float(ends[k].min()), float(ends[k].max())),
                float(made.p_best[k]),
                float(regret[k]),
            )
            for k in made.order
        )

    def row(self, candidate: str) -> ScoreRow | None:
        """That of a candidate; None if it has none or nothing can be said."""
        return next((row for row in self.rows if row.candidate == candidate and np.isfinite(row.forecast)), None)

    def ahead(self, first: str, second: str) -> float:
        """Probability that the first candidate has a better score than the second."""
        at = [self.forecast.candidates.index(name) for name in (first, second)]
        mine, theirs = self.forecast.samples[:, at].T
        return float(np.mean(mine < theirs))

    def surely_ahead(self, first: ScoreRow, second: ScoreRow) -> bool:
        """Whether the first is expected above the second by more than 0.5 % of the range, and with 80 % or more."""
        width = self.objective.ceiling - self.objective.floor
        apart = abs(first.forecast - second.forecast) > LEAST_APART * width
        return apart and self.ahead(first.candidate, second.candidate) >= SURELY

    @property
    def best(self) -> ScoreRow:
        """The first."""
        return self.rows[0]

    def told(self, row: ScoreRow) -> str:
        """A row in words."""
        low, high = row.interval
        return f"{row.forecast:.3f}, 90 % interval {low:.3f} to {high:.3f}, the best with probability {row.p_best:.0%}"

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows in types that JSON knows; a forecast about which nothing can be said is left out."""
        known = [row for row in self.rows if np.isfinite(row.forecast)]
        return [{**asdict(row), "interval": list(row.interval)} for row in known]


def range_of(objective: Between, values: Floats) -> Between | None:
    """The objective with its ends known, from 0 to 1 where a user's function gave nothing else; None without any."""
    known = values[np.isfinite(values)]
    if objective.bounded:
        return objective
    if known.size and known.min() >= 0 and known.max() <= 1:
        return Between(objective.name, objective.unit, 0.0, 1.0, objective.greater_is_better)
    return None


def read_scores(path: str | Path, objective: Between, name: str = "") -> Curves:
    """Scores from a table (candidate, examples, score or value, perhaps standard_error), or one with a column a size.

    Args:
        path: of a CSV file.
        objective: says between what they lie.
        name: of the score, where the table is a selection's `scores.csv`.

    Raises:
        InputError: as `lensllm.curve_tables.read_score_table`.
    """
    return Curves.of_table(read_score_table(Path(path), Scores(objective.floor, objective.ceiling), name))


def enough(scores: Curves) -> bool:
    """Whether scores were measured at as many sizes as the evidence has them."""
    tuned = (scores.sizes > 0) & np.isfinite(scores.losses).any(axis=0)
    return int(tuned.sum()) >= LEAST_SIZES


def forecasts_of(scores: Sequence[tuple[Between, Curves]], target_size: float) -> tuple[ScoreForecast, ...]:
    """Forecasts of those scores that have a range and enough sizes."""
    made = []
    for objective, curves in scores:
        ranged = range_of(objective, curves.losses)
        if ranged is not None and enough(curves):
            made.append(ScoreForecast.of(curves, ranged, target_size))
    return tuple(made)
