"""The default selector: shared growth of log-log slopes, with calibrated joint uncertainty."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.selectors.base import Selector, check
from lensllm.selectors.slope_growth import (
    clipped,
    last_points,
    log_points,
    recent_mean,
    shared_growth,
    slopes_per_doubling,
)

PRIOR_SLOPE = 0.05
PRIOR_SLOPE_SD = 0.03
COMMON_SD = 0.012
OWN_SD = 0.012


class LensLLM(Selector):
    """Slopes in log-log with one growth shared by all candidates, and joint samples of the final loss.

    The forecast error is kept in two parts: one common to all candidates, whose standard deviation grows as n^1.5
    with n doublings left (an integrated random walk of the slope) and which cannot change the ranking, and one of each
    candidate.

    Args:
        draws: number of joint samples.
        seed: of the samples.
    """

    name = "lensllm"

    def __init__(self, draws: int = 2000, seed: int = 0) -> None:
        self.draws = draws
        self.seed = seed

    def forecast(self, curves: Curves, target_size: float) -> Forecast:
        """Forecast all candidates together."""
        check(curves, target_size)
        x, y = log_points(curves)
        last, n = last_points(x, y, target_size)
        slopes = clipped(slopes_per_doubling(x, y))
        points = np.isfinite(slopes).sum(axis=1)
        own = recent_mean(slopes)
        pooled = own[points > 0].mean() if points.any() else PRIOR_SLOPE
        own = np.where(points > 0, own, pooled)
        growth = shared_growth(slopes, n.max(initial=1.0, where=np.isfinite(n)))
        mean = last - n * growth * own
        reach = np.abs(n)
        common = COMMON_SD * reach**1.5
        alone = np.hypot(OWN_SD * reach, np.where(points > 0, PRIOR_SLOPE_SD / (1 + points), PRIOR_SLOPE_SD) * reach)
        rng = np.random.default_rng(self.seed)
        shared = rng.standard_normal((self.draws, 1))
        samples = mean + common * shared + alone * rng.standard_normal((self.draws, len(mean)))
        return Forecast(curves.candidates, target_size, np.exp(mean), np.exp(samples))
