"""Log-log curves of a pool: where candidates stand, and how far they were measured.

Everything is in x = log2(examples) and y = log(loss). Candidates need not be measured at the same sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lensllm.arrays import Floats, known_median
from lensllm.curves import Curves
from lensllm.forecast import MEDIAN_TO_SD

POLISHES = 5
"""Rounds of median polish: a sixth changes levels by less than 0.001 on the published curves."""
FAR_OFF = 3.0
"""Robust standard deviations: the usual three."""
LEAST_FAR_OFF = 0.1
"""Of log loss: parallel curves have residuals of nothing but noise, 0.03 at most between seeds, times three."""


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
        tuned = tuned_sizes(curves)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(curves.losses[:, tuned])
        return cls(np.log2(curves.sizes[tuned]), np.where(np.isfinite(y), y, np.nan))

    def up_to(self, columns: int) -> LogCurves:
        """The first columns alone."""
        return LogCurves(self.x[:columns], self.y[:, :columns])

    @cached_property
    def start_levels(self) -> Floats:
        """Level of each candidate at its last measured point up to each column, shape (K, S); NaN before the first."""
        latest = np.maximum.accumulate(np.where(np.isfinite(self.y), np.arange(self.x.size), 0), axis=1)
        return np.take_along_axis(levels(pulled_in(without_spikes(self.y)))[1], latest, axis=1)

    @property
    def last(self) -> tuple[Floats, Floats]:
        """x and y of each candidate's last measured point, NaN without any, shapes (K,)."""
        return newest(np.where(np.isfinite(self.y), self.x, np.nan)), newest(self.y)


def tuned_sizes(curves: Curves) -> NDArray[np.bool_]:
    """Which sizes are above 0 and have a loss above 0 of some candidate, shape (S,)."""
    usable = np.isfinite(curves.losses) & (curves.losses > 0)
    return np.asarray((curves.sizes > 0) & usable.any(axis=0))


def without_spikes(y: Floats) -> Floats:
    """y with each measured point between two others replaced by the median of the three, shape (K, S).

    Where a curve falls or rises over the three nothing changes; a single odd reading between two good ones is gone.
    """
    seen = np.isfinite(y)
    before, after = _neighbours(y), _neighbours(y[:, ::-1])[:, ::-1]
    middle = np.maximum(np.minimum(before, after), np.minimum(np.maximum(before, after), y))
    return np.where(seen & np.isfinite(before) & np.isfinite(after), middle, y)


def _neighbours(y: Floats) -> Floats:
    """The measured value before each column, NaN before the first, shape (K, S)."""
    latest = np.maximum.accumulate(np.where(np.isfinite(y), np.arange(y.shape[1]), -1), axis=1)
    latest = np.pad(latest, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    return np.where(latest >= 0, np.take_along_axis(y, np.maximum(latest, 0), axis=1), np.nan)


def pulled_in(y: Floats) -> Floats:
    """y with readings that stand far off an additive table pulled in, shape (K, S).

    The table column_t + candidate_i is Tukey's median polish, which one odd reading does not move. Far off is beyond
    three robust standard deviations of the residuals, or 0.1 where they are smaller.
    """
    rest = y.copy()
    if not np.isfinite(y).any():
        return rest
    for _ in range(POLISHES):
        rest -= known_median(rest, axis=1)
        rest -= known_median(rest, axis=0)
    limit = max(FAR_OFF * MEDIAN_TO_SD * float(np.median(np.abs(rest[np.isfinite(rest)]))), LEAST_FAR_OFF)
    return np.asarray(y - rest + np.clip(rest, -limit, limit))


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
