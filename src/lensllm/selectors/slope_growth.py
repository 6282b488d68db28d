"""Log-log slopes, each candidate's own, with one growth factor shared by all."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.selectors.base import Selector
from lensllm.selectors.growth import FURTHEST, GROWTH_BOUNDS, PRIOR_SLOPE
from lensllm.selectors.log_curves import LogCurves
from lensllm.selectors.slopes import Slopes

LAG_WEIGHT = 0.5
TREND_WINDOW = 6
TREND_DAMPING = 0.9
"""All three chosen on the published curves."""


class SlopeGrowth(Selector):
    """Forecast log L = y_last - n G s, with n doublings left, s a candidate's slope and G the growth of all slopes.

    The slope per doubling is cleaned of outliers (`Slopes.clipped`), then averaged with weights halving at every
    doubling back. In the pre-power phase slopes still grow (the paper's two phases), for all candidates at once: G
    extrapolates the mean slope with a damped trend (Gardner & McKenzie 1985) fitted to its last six values, within
    [0.7, 2]. The constants were chosen on the published curves.

    >>> curves = Curves(("small", "large"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.65, 1.49, 1.35]])
    >>> SlopeGrowth().forecast(curves, 1600).mean.round(2).tolist()
    [1.17, 1.1]
    """

    name = "slope_growth"

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """Forecast all candidates together."""
        logs = LogCurves.of(curves)
        slopes = Slopes.of(logs).clipped()
        x_last, y_last = logs.last
        own, _ = slopes.recent(LAG_WEIGHT)
        pooled = float(own[slopes.any].mean()) if slopes.any.any() else PRIOR_SLOPE
        means = []
        for size in sizes:
            doublings = np.log2(size) - x_last
            furthest = float(np.max(doublings, initial=1.0, where=np.isfinite(doublings)))
            fall = doublings * shared_growth(slopes, furthest) * np.where(slopes.any, own, pooled)
            means.append(np.exp(y_last - np.clip(fall, -FURTHEST, FURTHEST)))
        return Forecast(curves.candidates, target_size, sizes, np.array(means))


def shared_growth(slopes: Slopes, doublings: float) -> float:
    """Mean future slope over mean recent slope, from a damped linear trend of the mean over candidates."""
    seen = np.isfinite(slopes.value)
    columns = seen.any(axis=0)
    mean = np.where(seen, slopes.value, 0.0).sum(axis=0)[columns] / seen.sum(axis=0)[columns]
    if mean.size < 3:
        return 1.0
    weights = LAG_WEIGHT ** np.arange(mean.size)[::-1]
    recent = float(weights @ mean / weights.sum())
    window = mean[-TREND_WINDOW:]
    gradient, level = np.polyfit(np.arange(1 - window.size, 1), window, 1)
    steps = np.cumsum(TREND_DAMPING ** np.arange(1, max(round(doublings), 1) + 1))
    return float(np.clip((level + gradient * steps.mean()) / recent, *GROWTH_BOUNDS)) if recent > 0 else 1.0
