"""Scores forecast by their own curves, with the losses of the same runs as a second witness of which is the best."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Errors, Forecast, Rows
from lensllm.selectors.base import Selector
from lensllm.selectors.default import default_selector
from lensllm.selectors.gaussian_process import GaussianProcess

MISLEADS = 0.8
"""Chance that the losses say nothing of which candidate is best by score, chosen on design tasks (docs/scores.md): with
0.5 more is lost where a threshold ends the search, with 0.95 where a budget does."""


@dataclass(frozen=True)
class ScoresBesideLosses(Selector):
    """A forecast of scores whose possible worlds count for more where the loss, too, has their best candidate.

    A score of a few hundred answers often lies at its floor, or within its sampling error of all others, where the loss
    tells candidates apart long since. With q_k the probability that candidate k has the lowest loss at the target, a
    world of the score's own forecast in which k is best of K has the weight

        w = (1 - misleads) q_k + misleads / K,

    so that P(best by score) is in proportion to what the scores say times w, and the losses make one candidate no more
    than 1 + (1 / misleads - 1) K times likelier beside another. Best is who truly is, before the test set errs. The
    worlds are drawn again by their weights, and the point forecasts move by the mean of the log errors. Scores without
    losses beside them (`Curves.beside`) are forecast by their own curves alone.

    Args:
        own: forecasts scores from scores.
        misleads: chance that the losses do not tell which candidate is best by score.

    >>> scores = [[0.99, 0.99, 0.98], [0.99, 0.98, 0.99]]
    >>> curves = Curves(("a", "b"), [50, 100, 200], scores, beside=Curves(("a", "b"), [50, 100, 200], [[3.0, 2.8, 2.6],
    ...     [3.0, 2.5, 2.1]]))
    >>> alone = GaussianProcess().forecast(curves, 800)
    >>> made = ScoresBesideLosses().forecast(curves, 800)
    >>> bool(made.p_best[1] > alone.p_best[1]), made.best
    (True, 'b')
    """

    name = "scores_beside_losses"

    own: GaussianProcess = field(default_factory=GaussianProcess)
    misleads: float = MISLEADS

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        made = self.own.forecast(curves, target_size, sizes)
        if curves.beside is None or made.errors is None or not np.isfinite(made.mean).any():
            return made
        losses = default_selector(curves.beside).forecast(curves.beside, target_size)
        if not losses.p_best.any():
            return made
        weights = (1 - self.misleads) * losses.p_best + self.misleads / len(curves.candidates)
        worlds = replace(made, test_error=np.zeros(0)).samples
        best = np.where(np.isnan(worlds), np.inf, worlds).argmin(axis=1)
        errors = Weighed(made.errors, made.rows, weights[best])
        moved = np.where(made.rows >= 0, errors.moved[:, made.rows], 0.0)
        return replace(made, means=made.means * np.exp(moved), errors=errors)


class Weighed(Errors):
    """Log errors drawn again, each world as often as its weight wants, and centred again.

    Args:
        errors: of the forecast.
        rows: of them that belong to a candidate.
        weights: of the worlds, shape (draws,).

    Attributes:
        moved: mean of the errors drawn again less that of all, shape (S, K).
    """

    def __init__(self, errors: Errors, rows: Rows, weights: Floats) -> None:
        self.draws, self.sd = errors.draws, errors.sd
        self._errors = errors
        alike = np.argsort(weights, kind="stable")
        ends = np.cumsum(weights[alike]) / weights.sum()
        drawn = np.searchsorted(ends, (np.arange(self.draws) + 0.5) / self.draws).clip(max=self.draws - 1)
        self._worlds = np.sort(alike[drawn])
        self.moved = np.zeros(self.sd.shape)
        known = rows[rows >= 0]
        total = errors.own(known, np.arange(len(self.sd))) + errors.common(known, np.arange(len(self.sd)))
        self.moved[:, known] = total[self._worlds].mean(axis=0) - total.mean(axis=0)

    def own(self, rows: Rows, at: Rows, draws: int | None = None) -> Floats:
        """Those of the worlds drawn again, less what the point forecasts have moved by."""
        return self._errors.own(rows, at)[self._worlds[:draws]] - self.moved[np.ix_(at, rows)]

    def common(self, rows: Rows, at: Rows) -> Floats:
        """Those of the worlds drawn again."""
        return self._errors.common(rows, at)[self._worlds]

    @property
    def along_paths(self) -> Errors:
        """Those of the forecast: how errors of two sizes go together does not depend on which candidate is best."""
        return self._errors.along_paths
