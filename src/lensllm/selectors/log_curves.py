"""Log-log curves of a pool: where candidates stand, and how far they were measured.

Everything is in x = log2(examples) and y = log(loss). Candidates need not be measured at the same sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves


@dataclass(frozen=True)
class LogCurves:
    """x, shape (S,), and y, shape (K, S), NaN where not measured.

    Sizes of 0, losses of 0 or less and sizes at which nothing was measured are left out.
    """

    x: Floats
    y: Floats

    @classmethod
    def of(cls, curves: Curves) -> LogCurves:
        """The fine-tuned part of the curves."""
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(curves.losses)
        y = np.where(np.isfinite(y), y, np.nan)
        tuned = (curves.sizes > 0) & np.isfinite(y).any(axis=0)
        return cls(np.log2(curves.sizes[tuned]), y[:, tuned])

    def up_to(self, columns: int) -> LogCurves:
        """The first columns alone."""
        return LogCurves(self.x[:columns], self.y[:, :columns])

    @cached_property
    def start_levels(self) -> Floats:
        """Level of each candidate at its last measured point up to each column, shape (K, S); NaN before the first."""
        latest = np.maximum.accumulate(np.where(np.isfinite(self.y), np.arange(self.x.size), 0), axis=1)
        return np.take_along_axis(levels(self.y)[1], latest, axis=1)

    @property
    def last(self) -> tuple[Floats, Floats]:
        """x and y of each candidate's last measured point, NaN without any, shapes (K,)."""
        return newest(np.where(np.isfinite(self.y), self.x, np.nan)), newest(self.y)


def levels(y: Floats) -> tuple[Floats, Floats]:
    """Additive fit y_it = column_t + candidate_i over what was measured: column means, shape (S,), and deviations.

    The deviation of a point is y_it - column_t, shape (K, S). With nothing missing a column is its plain mean; with
    candidates dropped along the way it stays the mean that all candidates would have.
    """
    seen = np.isfinite(y) * 1.0
    filled = np.where(seen, y, 0.0)
    mean = filled.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    if seen.all():
        column = filled.mean(axis=0)
        return column, y - column
    own = seen / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    normal = np.diag(seen.sum(axis=0)) - seen.T @ own  # the candidates eliminated from the normal equations
    column = np.linalg.lstsq(normal, filled.sum(axis=0) - seen.T @ mean, rcond=1e-10)[0]
    candidate = mean - own @ column
    column = column + candidate[seen.any(axis=1)].mean() if seen.any() else column
    return column, y - column


def newest(values: Floats) -> Floats:
    """The last finite value of each row, NaN where there is none, shape (K,)."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return values[np.arange(len(values)), values.shape[1] - 1 - np.isfinite(values)[:, ::-1].argmax(axis=1)]
