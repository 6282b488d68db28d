"""How log-log slopes grow with the data: shared structure of all candidates, each candidate's own part kept.

Everything is in x = log2(examples) and y = log(loss), so a slope is the fall of the log loss per doubling. Candidates
need not be measured at the same sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lensllm.curves import Curves, Floats

CLIP = 3.0
JUMP_BELIEVED = 0.5
GROWTH_BOUNDS = (0.7, 2.0)
LEVEL_RIDGE = 0.04
FURTHEST = 50.0  # of log loss from the last point, so that no forecast over- or underflows
PRIOR_SLOPE = 0.05
STEEPEST = 0.2
SETTLED = 2.5
TIE = 1e-3
NOISE_TO_SPREAD = 2.0


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
        newest = np.maximum.accumulate(np.where(np.isfinite(self.y), np.arange(self.x.size), 0), axis=1)
        return np.take_along_axis(levels(self.y)[1], newest, axis=1)

    @property
    def last(self) -> tuple[Floats, Floats]:
        """x and y of each candidate's last measured point, NaN without any, shapes (K,)."""
        measured = np.isfinite(self.y)
        if not self.x.size:
            return np.full(len(self.y), np.nan), np.full(len(self.y), np.nan)
        at = self.x.size - 1 - measured[:, ::-1].argmax(axis=1)
        y = self.y[np.arange(len(self.y)), at]
        return np.where(np.isfinite(y), self.x[at], np.nan), y


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
        """The slopes between neighbouring measured points."""
        measured = np.isfinite(curves.y)
        newest = np.maximum.accumulate(np.where(measured, np.arange(curves.x.size), -1), axis=1)[:, :-1]
        known = measured[:, 1:] & (newest >= 0)
        before = np.take_along_axis(curves.y, np.maximum(newest, 0), axis=1)
        x_before, x_after = curves.x[np.maximum(newest, 0)], curves.x[1:]
        width = np.where(known, x_after - x_before, np.nan)
        value = (before - curves.y[:, 1:]) / width
        at = np.where(known, (x_after + x_before) / 2, np.nan)
        gained = np.where(known, 0.0, np.nan)
        for after in range(1, curves.x.size):
            for start in np.unique(newest[known[:, after - 1], after - 1]):
                rows = known[:, after - 1] & (newest[:, after - 1] == start)
                both = measured[:, start] & measured[:, after]
                leader = int(np.where(both, curves.y[:, start], np.inf).argmin())
                lead = (
                    value[rows, after - 1]
                    - (curves.y[leader, start] - curves.y[leader, after]) / width[rows, after - 1]
                )
                gained[rows, after - 1] = np.where(before[rows, after - 1] > curves.y[leader, start], lead, 0.0)
        return cls(value, at, width, gained)

    def settled(self) -> Slopes:
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
        """Slopes within 3 pooled robust standard deviations of their running median of five, and none above 0.2.

        The median runs over the neighbouring columns of the same candidate; the pooled deviation is over all. A fall of
        more than 0.2 a doubling is followed, but not expected to last.
        """
        limited = np.minimum(self.value, STEEPEST)
        if self.value.shape[1] < 3:
            return replace(self, value=limited)
        padded = np.pad(self.value, ((0, 0), (2, 2)), constant_values=np.nan)
        windows = np.sort([padded[:, i : i + self.value.shape[1]] for i in range(5)], axis=0)  # NaN go last
        count = np.isfinite(windows).sum(axis=0)[None]
        low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, 4)
        median = (np.take_along_axis(windows, low, 0) + np.take_along_axis(windows, high, 0))[0] / 2
        off = np.abs(self.value - median)
        spread = 1.4826 * float(np.median(off[np.isfinite(off)])) if np.isfinite(off).any() else 0.0
        if spread > 0:
            limited = np.minimum(np.clip(self.value, median - CLIP * spread, median + CLIP * spread), STEEPEST)
        return replace(self, value=limited)

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


def trend(x: Floats, values: Floats, weight: Floats) -> float:
    """Least-squares slope of values on x; 0 with fewer than three points."""
    if np.count_nonzero(weight) < 3:
        return 0.0
    center = weight @ x / weight.sum()
    return float(weight @ ((x - center) * values) / (weight @ (x - center) ** 2))


@dataclass(frozen=True)
class Growth:
    """The shared part of all slopes: at x a candidate with level l above the pool falls by `mean(x) + coupling(x) l`.

    `mean` and `coupling` are lines: value at `center` and gradient per doubling.
    """

    center: float
    mean: float
    mean_gradient: float
    coupling: float
    coupling_gradient: float

    @classmethod
    def fit(cls, curves: LogCurves, slopes: Slopes, lag_weight: float) -> Growth:
        """Regress the slopes of every column on the candidates' levels there, then a line through the columns.

        The lines have the gradient of all columns and pass through the recency-weighted mean. The coupling of a column
        is shrunk (ridge 0.04: a slope noise of 0.01 against couplings of 0.05), which matters with few candidates.
        """
        seen = np.isfinite(slopes.value)
        count = seen.sum(axis=0)
        columns = count > 0
        if not columns.any():
            return cls(0.0, PRIOR_SLOPE, 0.0, 0.0, 0.0)
        start = curves.start_levels[:, :-1]
        seen, count = seen[:, columns], count[columns]
        at, d, level = (np.where(seen, v[:, columns], 0.0) for v in (slopes.at, slopes.value, start))
        mean_at, mean_d, middle = (v.sum(axis=0) / count for v in (at, d, level))
        off = np.where(seen, level - middle, 0.0)
        c = (off * (d - mean_d)).sum(axis=0) / ((off**2).sum(axis=0) + LEVEL_RIDGE)
        a, ones = mean_d - c * middle, np.ones(count.size)
        weight = lag_weight ** (mean_at[-1] - mean_at)
        weight /= weight.sum()
        return cls(weight @ mean_at, weight @ a, trend(mean_at, a, ones), weight @ c, trend(mean_at, c, ones))

    def slope(self, x: Floats, level: Floats) -> Floats:
        """The shared slope at x of candidates at these levels; the mean grows by no more than 0.7 to 2 times."""
        mean = self.mean + self.mean_gradient * (x - self.center)
        low, high = (bound * self.mean for bound in GROWTH_BOUNDS) if self.mean > 0 else (self.mean, self.mean)
        mean = np.clip(mean, low, high)
        return np.asarray(mean + (self.coupling + self.coupling_gradient * (x - self.center)) * level)


def extrapolate(curves: LogCurves, x: float | Floats, lag_weight: float) -> Floats:
    """Log losses at x: last level minus doublings left times the slope expected half way, shape (K, *x.shape).

    The slope is the shared one at the candidate's level plus what the candidate's own recent slope has beyond it, as
    far as that is expected to last (`Slopes.persistence`). Half of a jump at the last point that the clipping does not
    believe is taken back: one point cannot tell a reading error from a change of level. A candidate whose last fall was
    too steep to be settled goes on falling as fast; where it ends is for `no_further_than_the_pool` to say. Within what
    was measured, the points are joined by straight lines.
    """
    shape, x = (len(curves.y), *np.shape(x)), np.atleast_1d(np.asarray(x, dtype=float))
    if not curves.x.size:
        return np.full(shape, np.nan)
    raw = Slopes.of(curves)
    settled = raw.settled()
    slopes = settled.clipped()
    x_last, y_last = (v[:, None] for v in curves.last)
    growth = Growth.fit(curves, slopes, lag_weight)
    level = np.where(np.isfinite(y_last), curves.start_levels[:, -1:], 0.0)
    own, own_at = (v[:, None] for v in slopes.recent(lag_weight))
    half_way = (x_last + x) / 2
    beyond = slopes.persistence[:, None] * (own - growth.slope(own_at, level))
    slope = growth.slope(half_way, level) + np.where(slopes.any[:, None], beyond, 0.0)
    slope = np.where((raw.any & ~slopes.any)[:, None], newest(raw.value)[:, None], slope)
    forecast = y_last + (1 - JUMP_BELIEVED) * _jump(settled, slopes)[:, None] - (x - x_last) * slope
    for row, column in zip(*np.nonzero(x <= x_last), strict=True):
        seen = np.isfinite(curves.y[row])
        forecast[row, column] = np.interp(x[column], curves.x[seen], curves.y[row, seen])
    return np.clip(forecast, y_last - FURTHEST, y_last + FURTHEST).reshape(shape)


def unsettled(curves: LogCurves) -> NDArray[np.bool_]:
    """Which candidates have been learning the form of the task within the last 2.5 doublings measured, shape (K,).

    2.5 are three steps of a ladder of doublings, with room for uneven ones.
    """
    slopes = Slopes.of(curves)
    return slopes.any & (slopes.settled().doublings < np.minimum(slopes.doublings, SETTLED))


def no_further_than_the_pool(forecast: Floats, curves: LogCurves, x: Floats) -> Floats:
    """Log losses at each x, shape (K, len(x)), those of unsettled candidates not below the median of the settled.

    A model that has just learned the form of a task ends where those end that knew it, as far as can be told. Those
    held at the same loss keep the order of their last ones.
    """
    learning = unsettled(curves)
    known = ~learning & np.isfinite(forecast).all(axis=1)
    if not known.any():
        return forecast
    last = curves.last[1][:, None]
    middle = np.minimum(np.median(forecast[known], axis=0), last)
    held = np.maximum(forecast, middle + TIE * (last - np.nanmin(last)))
    return np.where(learning[:, None] & (x > curves.last[0][:, None]), held, forecast)


def newest(values: Floats) -> Floats:
    """The last finite value of each row, NaN where there is none, shape (K,)."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return values[np.arange(len(values)), values.shape[1] - 1 - np.isfinite(values)[:, ::-1].argmax(axis=1)]


def _jump(raw: Slopes, clipped: Slopes) -> Floats:
    """How far the last point fell beyond what clipping believes, shape (K,)."""
    return np.nan_to_num(newest((raw.value - clipped.value) * raw.width))
