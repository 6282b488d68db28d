"""Log-log slopes, each candidate's own, with one growth factor shared by all."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves, Floats
from lensllm.forecast import Forecast
from lensllm.selectors.base import Selector, check

LAG_WEIGHT = 0.5
TREND_WINDOW = 6
TREND_DAMPING = 0.9
GROWTH_BOUNDS = (0.7, 2.0)
CLIP = 3.0


class SlopeGrowth(Selector):
    """Forecast log L = y_last - n G s, with n doublings left, s a candidate's slope and G the growth of all slopes.

    The slope per doubling is cleaned of outliers (clipped to the running median of five plus or minus 3 pooled robust
    standard deviations), then averaged with weights halving at every step back. In the pre-power phase slopes still
    grow (the paper's two phases), for all candidates at once: G extrapolates the mean slope with a damped trend
    (Gardner & McKenzie 1985) fitted to its last six values, within [0.7, 2]. The constants were chosen on the
    published curves.
    """

    name = "slope_growth"

    def forecast(self, curves: Curves, target_size: float) -> Forecast:
        """Forecast all candidates together."""
        check(curves, target_size)
        x, y = log_points(curves)
        last, doublings = last_points(x, y, target_size)
        slopes = clipped(slopes_per_doubling(x, y))
        own = recent_mean(slopes)
        pooled = own[np.isfinite(own)].mean() if np.isfinite(own).any() else 0.0
        own = np.where(np.isfinite(own), own, pooled)
        growth = shared_growth(slopes, doublings.max(initial=1.0, where=np.isfinite(doublings)))
        mean = np.exp(last - doublings * growth * own)
        return Forecast(curves.candidates, target_size, mean, mean[None])


def log_points(curves: Curves) -> tuple[Floats, Floats]:
    """log2 of the sizes above 0, shape (S,), and log losses there, shape (K, S), NaN where not measured."""
    tuned = curves.sizes > 0
    losses = np.where(curves.losses > 0, curves.losses, np.nan)[:, tuned]
    return np.log2(curves.sizes[tuned]), np.log(np.where(np.isfinite(losses), losses, np.nan))


def last_points(x: Floats, y: Floats, target_size: float) -> tuple[Floats, Floats]:
    """Last measured log loss of each candidate and the doublings from there to the target, shapes (K,)."""
    measured = np.isfinite(y)
    last, doublings = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for k in np.flatnonzero(measured.any(axis=1)):
        at = np.flatnonzero(measured[k])[-1]
        last[k], doublings[k] = y[k, at], np.log2(target_size) - x[at]
    return last, doublings


def slopes_per_doubling(x: Floats, y: Floats) -> Floats:
    """Fall of the log loss per doubling between a candidate's neighbouring points, shape (K, S - 1).

    A fall between two points with a gap between them stands in the column of the later one.
    """
    slopes = np.full((len(y), max(x.size - 1, 0)), np.nan)
    for k, row in enumerate(y):
        at = np.flatnonzero(np.isfinite(row))
        slopes[k, at[1:] - 1] = -np.diff(row[at]) / np.diff(x[at])
    return slopes


def clipped(slopes: Floats) -> Floats:
    """Slopes within `CLIP` pooled robust standard deviations of their running median of five."""
    if slopes.shape[1] < 3:
        return slopes
    padded = np.pad(slopes, ((0, 0), (2, 2)), constant_values=np.nan)
    windows = np.stack([padded[:, i : i + slopes.shape[1]] for i in range(5)])
    with np.errstate(all="ignore"):
        median = _nanmedian(windows, axis=0)
        spread = 1.4826 * _nanmedian(np.abs(slopes - median).ravel(), axis=0)
    if not spread > 0:
        return slopes
    return np.clip(slopes, median - CLIP * spread, median + CLIP * spread)


def _nanmedian(values: Floats, axis: int) -> Floats:
    masked = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.median(masked, axis=axis).astype(float), np.nan)


def recent_mean(slopes: Floats) -> Floats:
    """Mean slope of each candidate with weights `LAG_WEIGHT`^lag, NaN without any, shape (K,)."""
    means = np.full(len(slopes), np.nan)
    for k, row in enumerate(slopes):
        seen = row[np.isfinite(row)][::-1]
        if seen.size:
            weights = LAG_WEIGHT ** np.arange(seen.size)
            means[k] = weights @ seen / weights.sum()
    return means


def shared_growth(slopes: Floats, doublings: float) -> float:
    """Mean future slope over mean recent slope, from a damped linear trend of the mean over candidates."""
    measured = np.isfinite(slopes)
    columns = measured.any(axis=0)
    mean = np.where(measured, slopes, 0.0).sum(axis=0)[columns] / measured.sum(axis=0)[columns]
    if mean.size < 3:
        return 1.0
    recent = recent_mean(mean[None])[0]
    window = mean[-TREND_WINDOW:]
    trend, level = np.polyfit(np.arange(1 - window.size, 1), window, 1)
    steps = np.cumsum(TREND_DAMPING ** np.arange(1, max(round(doublings), 1) + 1))
    future = level + trend * steps.mean()
    return float(np.clip(future / recent, *GROWTH_BOUNDS)) if recent > 0 else 1.0
