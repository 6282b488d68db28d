"""Slopes of log-log curves: which of them count, and how far they can be trusted.

A slope is the fall of the log loss per doubling of the examples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lensllm.arrays import Floats, known_median
from lensllm.selectors.log_curves import LogCurves, without_spikes

CLIP = 3.0
"""Robust standard deviations from its neighbours' median within which a slope is believed: the usual three."""
STEEPEST = 0.2
"""A doubling; D^-0.29, steeper than any stretch of the published curves beside a doubtful reading."""
SETTLED = 2.5
"""Doublings after learning the form until a slope is believed: three steps of a ladder, with room for uneven ones."""
NOISE_TO_SPREAD = 2.0
"""2 sd^2 over the variance of true slopes: the noise between seeds is as large as that spread (docs/decisions.md)."""


@dataclass(frozen=True)
class Slopes:
    """Falls of y per doubling between neighbouring measured points, shape (K, S - 1), in the later point's column.

    `at` is where each lies on x (the middle of the step), `width` how many doublings the step spans, and `gained` how
    much of the fall is gained on the best of those measured at both points, 0 for the best itself.
    """

    value: Floats
    at: Floats
    width: Floats
    gained: Floats

    @classmethod
    def of(cls, curves: LogCurves) -> Slopes:
        """The slopes between neighbouring measured points, single spikes taken out (`log_curves.without_spikes`)."""
        y, measured = without_spikes(curves.y), np.isfinite(curves.y)
        newest = np.maximum.accumulate(np.where(measured, np.arange(curves.x.size), -1), axis=1)[:, :-1]
        known = measured[:, 1:] & (newest >= 0)
        before = np.take_along_axis(y, np.maximum(newest, 0), axis=1)
        x_before, x_after = curves.x[np.maximum(newest, 0)], curves.x[1:]
        width = np.where(known, x_after - x_before, np.nan)
        value = (before - y[:, 1:]) / width
        at = np.where(known, (x_after + x_before) / 2, np.nan)
        return cls(value, at, width, _gained(y, np.where(known, newest, -1), value, width))

    def after_format_learning(self) -> Slopes:
        """Without the falls by which a candidate learned the form of the task, and all before them: NaN.

        Such is a fall that gains more than 0.2 a doubling (D^-0.29) on the best of the pool: the candidate learns what
        others know already, the task's labels say, and what it did until then says nothing of what comes after
        (docs/decisions.md). Gains count from the nearest it has been to the best, so that the way back from a single
        high reading is none.
        """
        total = np.nancumsum(self.gained * self.width, axis=1)
        most = np.maximum.accumulate(np.pad(total, ((0, 0), (1, 0))), axis=1)[:, :-1]
        learning = total - most > STEEPEST * self.width
        later = learning[:, ::-1].cumsum(axis=1)[:, ::-1] == 0
        return Slopes(*(np.where(later, part, np.nan) for part in (self.value, self.at, self.width, self.gained)))

    def clipped(self) -> Slopes:
        """Slopes within 3 pooled robust standard deviations of their running median of five, and within limits of none.

        The median runs over the neighbouring columns of the same candidate; the pooled deviation is over all. A fall
        beyond `steepest`, or a rise of more than 0.2 a doubling, is followed, but not expected to last.
        """
        steepest = self.steepest
        limited = np.clip(self.value, -STEEPEST, steepest)
        if self.value.shape[1] < 3:
            return replace(self, value=limited)
        padded = np.pad(self.value, ((0, 0), (2, 2)), constant_values=np.nan)
        windows = np.array([padded[:, i : i + self.value.shape[1]] for i in range(5)])
        median = known_median(windows, axis=0)[0]
        off = np.abs(self.value - median)
        spread = 1.4826 * float(np.median(off[np.isfinite(off)])) if np.isfinite(off).any() else 0.0
        if spread > 0:
            limited = np.clip(self.value, median - CLIP * spread, median + CLIP * spread).clip(-STEEPEST, steepest)
        return replace(self, value=limited)

    @property
    def of_pool(self) -> Floats:
        """The median of each column, NaN where nothing was measured, shape (S - 1,)."""
        if not self.value.size:
            return np.full(self.value.shape[1], np.nan)
        return np.where(np.isfinite(self.value).any(axis=0), known_median(self.value, axis=0)[0], np.nan)

    @property
    def steepest(self) -> float:
        """The fall a doubling that is expected to last: 0.2, or as the whole pool fell in both of its last two steps.

        Made-up or templated data are learned as fast as that, by all candidates alike. It is the last step but one, or
        where the last one was less, what the two lead to next: the last squared over the one before.
        """
        falls = self.of_pool
        lately = falls[np.isfinite(falls)][-2:]
        if lately.size < 2 or lately.min() <= STEEPEST:
            return STEEPEST
        before, last = lately
        return max(STEEPEST, float(min(before, last**2 / before)))

    @property
    def doublings(self) -> Floats:
        """How many doublings the slopes of each candidate span, shape (K,)."""
        return np.asarray(np.nansum(self.width, axis=1))

    @property
    def persistence(self) -> Floats:
        """Share of a candidate's own slope that is expected to last: w^2 / (w^2 + 2) after w doublings, shape (K,).

        The reliability of a slope between two readings w doublings apart: var / (var + 2 sd^2 / w^2), where the log
        loss differs as much between seeds (sd) as true slopes do between candidates: docs/evidence.md has sd from 0.003
        on texts to 0.03 on labels.
        """
        return np.asarray(self.doublings**2 / (self.doublings**2 + NOISE_TO_SPREAD))

    @property
    def any(self) -> np.ndarray:
        """Which candidates have a slope, shape (K,)."""
        return np.asarray(np.isfinite(self.value).any(axis=1))

    def recent(self, lag_weight: float) -> tuple[Floats, Floats]:
        """Each candidate's mean slope and where it lies on x, weights lag_weight^doublings back, shapes (K,)."""
        seen = np.isfinite(self.value)
        newest = np.where(seen, self.at, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
        weight = np.where(seen, lag_weight ** np.where(seen, newest - self.at, 0.0), 0.0)
        total = np.where(self.any, weight.sum(axis=1), np.nan)
        return (
            np.where(seen, weight * self.value, 0.0).sum(axis=1) / total,
            np.where(seen, weight * self.at, 0.0).sum(axis=1) / total,
        )


def _gained(y: Floats, before: NDArray[np.int_], value: Floats, width: Floats) -> Floats:
    """How much faster each step fell than the best of those measured at both its ends, shape (K, S - 1).

    That is, than the one of the best two others that changed less, so that one odd reading makes nobody a learner; the
    rise of a single other counts as none. The best itself gains nothing. `before` is the column that each step begins
    in, -1 where there is no step.
    """
    measured, gained = np.isfinite(y), np.where(before >= 0, 0.0, np.nan)
    for step, starts in enumerate(before.T):
        for start in np.unique(starts[starts >= 0]):
            rows = np.flatnonzero(starts == start)
            both = measured[:, start] & measured[:, step + 1]
            best = np.argsort(np.where(both, y[:, start], np.inf), kind="stable")[: min(3, int(both.sum()))]
            led = y[best, start] - y[best, step + 1]
            for row in rows[y[rows, start] > y[best[0], start]]:
                others = led[best != row][:2]
                by = others[np.abs(others).argmin()] if len(others) > 1 else max(others[0], 0.0)
                gained[row, step] = value[row, step] - by / width[row, step]
            gained[rows, step] = np.where(np.isnan(gained[rows, step]), 0.0, gained[rows, step])
    return gained


def learning_format(slopes: Slopes) -> NDArray[np.bool_]:
    """Which candidates have been learning the form of the task within the last 2.5 doublings measured, shape (K,)."""
    return slopes.any & (slopes.after_format_learning().doublings < np.minimum(slopes.doublings, SETTLED))
