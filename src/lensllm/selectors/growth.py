"""How log-log slopes grow with the data: shared structure of all candidates, each candidate's own part kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lensllm.arrays import Floats
from lensllm.forecast import MEDIAN_TO_SD
from lensllm.selectors.log_curves import LogCurves, newest
from lensllm.selectors.slopes import STEEPEST, Slopes, learning_format

JUMP_BELIEVED = 0.5
"""Of a jump at the last point that clipping does not believe: one point cannot tell an error from a change of level."""
APART = 3.0
"""Robust standard deviations from the median of its column within which a slope counts in full: the usual three."""
LEAST_SPREAD = 0.01
"""Of slopes within a column: half of what is usual within a pool."""
GROWTH = 0.25
"""Rate at which the mean slope is expected to grow a doubling, as a logistic that ends at the steepest slope."""
GROWTH_WORTH = 5.0
"""Doublings^2 that this is worth: most of what is known at two sizes, little at eight (docs/decisions.md)."""
COUPLING_WORTH = 2.0
"""Doublings^2 that a coupling which does not change is worth, so that one candidate does not bend it for all."""
GROWTH_BOUNDS = (0.7, 2.0)
"""Of the mean slope over what it was: the published curves stay within them over nine doublings."""
LEVEL_RIDGE = 0.04
"""Of the coupling of a column: a slope noise of 0.01 against couplings of 0.05, squared."""
FURTHEST = 50.0
"""Of log loss from the last point, so that no forecast over- or underflows."""
PRIOR_SLOPE = 0.05
"""Where no slope is known: about the mean of the published curves."""
TIE = 1e-3
"""Part of the differences of their last log losses that candidates held at one loss keep: an order, and no more."""


def trend(x: Floats, values: Floats, weight: Floats, expected: float = 0.0, worth: float = 0.0) -> float:
    """Least-squares slope of values on x, drawn to the expected one as if `worth` of sum w (x - mean)^2 had shown that.

    As expected with fewer than three points.
    """
    if x.size < 3:
        return expected
    off = x - weight @ x / weight.sum()
    return float((weight @ (off * values) + worth * expected) / (weight @ off**2 + worth))


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
    def fit(cls, curves: LogCurves, slopes: Slopes, lag_weight: float, raw: Slopes | None = None) -> Growth:
        """Regress the slopes of every column on the candidates' levels there, then a line through the columns.

        A column counts by how many candidates have a slope there: the furthest of a search has one or two. The lines
        have the gradient of all columns and pass through the recency-weighted mean. The mean m is expected to grow by
        0.25 m (1 - m / 0.2) a doubling, which counts for as much as columns with a sum of squares of 5 doublings^2, so
        for most of it until four columns were measured (docs/decisions.md). The coupling of a column is shrunk (ridge
        0.04: a slope noise of 0.01 against couplings of 0.05), which matters with few candidates. A slope far from the
        median of its column counts less (`_believed`), so that no single candidate sets the shared part.

        Args:
            curves: of the pool.
            slopes: those that are regressed.
            lag_weight: weight of a slope one doubling older than another.
            raw: the same before clipping, which say how far off each is.
        """
        raw = raw or slopes
        seen = np.isfinite(slopes.value)
        count = seen.sum(axis=0)
        columns = count > 0
        if not columns.any():
            return cls(0.0, PRIOR_SLOPE, 0.0, 0.0, 0.0)
        start = curves.start_levels[:, :-1]
        seen, count = seen[:, columns], count[columns]
        at, d, level = (np.where(seen, v[:, columns], 0.0) for v in (slopes.at, slopes.value, start))
        mean_at = at.sum(axis=0) / count
        believed = np.where(seen, _believed(raw.value[:, columns]), 0.0)
        mean_d, middle = ((believed * v).sum(axis=0) / believed.sum(axis=0) for v in (d, level))
        off = np.where(seen, level - middle, 0.0)
        c = (believed * off * (d - mean_d)).sum(axis=0) / ((believed * off**2).sum(axis=0) + LEVEL_RIDGE)
        a, part = mean_d - c * middle, count / count.max()
        weight = part * lag_weight ** (mean_at[-1] - mean_at)
        weight /= weight.sum()
        mean = float(weight @ a)
        expected = GROWTH * mean * max(1 - mean / STEEPEST, 0.0)
        gradient = trend(mean_at, a, part, expected, GROWTH_WORTH)
        return cls(weight @ mean_at, mean, gradient, weight @ c, trend(mean_at, c, part, 0.0, COUPLING_WORTH))

    def slope(self, x: Floats, level: Floats) -> Floats:
        """The shared slope at x of candidates at these levels; the mean grows by no more than 0.7 to 2 times."""
        mean = self.mean + self.mean_gradient * (x - self.center)
        low, high = (bound * self.mean for bound in GROWTH_BOUNDS) if self.mean > 0 else (self.mean, self.mean)
        mean = np.clip(mean, low, high)
        return np.asarray(mean + (self.coupling + self.coupling_gradient * (x - self.center)) * level)


def extrapolate(curves: LogCurves, x: float | Floats, lag_weight: float, raw: Slopes | None = None) -> Floats:
    """Log losses at x: last level minus doublings left times the slope expected half way, shape (K, *x.shape).

    The slope is the shared one at the candidate's level plus what the candidate's own recent slope has beyond it, as
    far as that is expected to last (`Slopes.persistence`). Half of a jump at the last point that the clipping does not
    believe is taken back within the first doubling: one point cannot tell a reading error from a change of level. That
    no fall is taken back beyond the last point itself is for `not_above_last` to say. A candidate whose last fall was
    too steep to be settled goes on falling as fast; where it ends is for `floor_at_pool_median` to say. Within what
    was measured, the points are joined by straight lines.

    Args:
        curves: of the pool, K candidates.
        x: log2 of the sizes.
        lag_weight: weight of a slope one doubling older than another.
        raw: the slopes of the curves, where they are at hand.
    """
    shape, x = (len(curves.y), *np.shape(x)), np.atleast_1d(np.asarray(x, dtype=float))
    if not curves.x.size:
        return np.full(shape, np.nan)
    raw = raw or Slopes.of(curves)
    after_format_learning = raw.after_format_learning()
    slopes = after_format_learning.clipped()
    x_last, y_last = (v[:, None] for v in curves.last)
    growth = Growth.fit(curves, slopes, lag_weight, after_format_learning)
    level = np.where(np.isfinite(y_last), curves.start_levels[:, -1:], 0.0)
    own, own_at = (v[:, None] for v in slopes.recent(lag_weight))
    half_way = (x_last + x) / 2
    beyond = slopes.persistence[:, None] * (own - growth.slope(own_at, level))
    slope = growth.slope(half_way, level) + np.where(slopes.any[:, None], beyond, 0.0)
    slope = np.where((raw.any & ~slopes.any)[:, None], newest(raw.value)[:, None], slope)
    taken_back = (1 - JUMP_BELIEVED) * _jump(after_format_learning, slopes)[:, None]
    forecast = y_last + taken_back * np.clip(x - x_last, 0.0, 1.0) - (x - x_last) * slope
    for row in np.flatnonzero((x <= x_last).any(axis=1)):
        seen, within = np.isfinite(curves.y[row]), x <= x_last[row]
        forecast[row, within] = np.interp(x[within], curves.x[seen], curves.y[row, seen])
    return np.clip(forecast, y_last - FURTHEST, y_last + FURTHEST).reshape(shape)


def steepness(curves: LogCurves, raw: Slopes) -> Floats:
    """How much more than the limit of 0.2 a doubling candidates fall and have not flattened, shape (K,); 0 for others.

    The least mean fall from any earlier point to the last, so that the way back from a spike is none. 0 for those that
    learn the form of the task from a pool that knows it: where their fall ends is known.
    """
    x_last, y_last = (v[:, None] for v in curves.last)
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = (curves.y - y_last) / (x_last - curves.x)
    before = np.isfinite(curves.y) & (curves.x < x_last)
    least = np.where(before, fall, np.inf).min(axis=1, initial=np.inf)
    return np.where(before.any(axis=1) & ~learning_format(raw), np.maximum(least - STEEPEST, 0.0), 0.0)


def not_above_last(forecast: Floats, curves: LogCurves, x: Floats, raw: Slopes) -> Floats:
    """Log losses at each x, shape (K, len(x)), beyond the last point not above it unless the last step rose.

    More data that made a candidate better until now are not expected to make it worse.
    """
    x_last, y_last = (v[:, None] for v in curves.last)
    falls = (newest(raw.value) >= 0)[:, None]
    return np.where(falls & (x > x_last), np.minimum(forecast, y_last), forecast)


def floor_at_pool_median(forecast: Floats, curves: LogCurves, x: Floats, raw: Slopes | None = None) -> Floats:
    """Log losses at each x, shape (K, len(x)), those of unsettled candidates not below the median of the settled.

    A model that has just learned the form of a task ends where those end that knew it, as far as can be told. Those
    held at the same loss keep the order of their last ones.
    """
    learning = learning_format(raw or Slopes.of(curves))
    known = ~learning & np.isfinite(forecast).all(axis=1)
    if not known.any():
        return forecast
    last = curves.last[1][:, None]
    middle = np.minimum(np.median(forecast[known], axis=0), last)
    held = np.maximum(forecast, np.minimum(middle + TIE * (last - np.nanmin(last)), last))
    return np.where(learning[:, None] & (x > curves.last[0][:, None]), held, forecast)


def _believed(slopes: Floats) -> Floats:
    """Weights of slopes (K, S): 1 within three robust standard deviations of their column's median, then falling.

    With d the distance and l that limit it is (l / d)^2, so that a slope pulls the less the further off it is. The
    deviation is over all columns, so that no single candidate sets it.
    """
    off = np.abs(slopes - np.nanmedian(slopes, axis=0))
    limit = APART * max(MEDIAN_TO_SD * float(np.nanmedian(off)), LEAST_SPREAD)
    return np.asarray((limit / np.maximum(off, limit)) ** 2)


def _jump(raw: Slopes, clipped: Slopes) -> Floats:
    """How far the last point fell beyond what clipping believes, shape (K,); where all fall steeply, beyond that."""
    pool = raw.of_pool
    pool = np.where(pool > STEEPEST, pool, -np.inf)
    believed = np.maximum(clipped.value, np.minimum(raw.value, pool))
    return np.nan_to_num(newest((raw.value - believed) * raw.width))
