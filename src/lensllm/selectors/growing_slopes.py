"""The default selector: growing slopes and the law together, with calibrated joint uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.selectors.base import Selector, check
from lensllm.selectors.fitted_laws import FittedLaws
from lensllm.selectors.growth import extrapolate, floor_at_pool_median
from lensllm.selectors.slopes import LogCurves

ORIGINS = 4
LEAST_POINTS = 3
NO_SLOPE_SD = 0.03
READING_SD = 0.005
LARGEST_LOG = 300.0
MORE_DEGREES = 1  # lighter tails, so that the expected regret exists without any hindcast


@dataclass(frozen=True)
class ErrorScale:
    """Standard deviation of one part of the log forecast error: sd * doublings^exponent.

    Attributes:
        sd: per doubling, before anything is known of the task.
        degrees: how many hindcasts the prior is worth (scaled inverse chi-squared).
        exponent: growth with the number of doublings ahead.
        inflation: factor at which 90 % intervals hold 90 % of the truths (evidence/accuracy/calibration.py).
    """

    sd: float
    degrees: float
    exponent: float
    inflation: float = 1.0

    def draw(self, mean_square: float, count: float, draws: int, rng: np.random.Generator) -> Floats:
        """Posterior draws of sd, shape (draws, 1), after `count` hindcasts with this mean square per doubling."""
        square = (self.degrees * self.sd**2 + count * mean_square) / (self.degrees + count)
        tail = self.degrees + count + MORE_DEGREES
        return self.inflation * np.sqrt(square * tail / rng.chisquare(tail, (draws, 1)))


COMMON = ErrorScale(sd=0.0173, degrees=2.0, exponent=1.5, inflation=0.66)
OWN = ErrorScale(sd=0.0398, degrees=2.0, exponent=1.1, inflation=0.45)


@dataclass(frozen=True)
class Hindcast:
    """Mean squares per doubling of the common and the own errors of a task's past, from so many origins."""

    common: float
    own: float
    origins: int


@dataclass(frozen=True)
class Parts:
    """What a forecast is made of: log mean, doublings ahead, whether a slope is known, all (K,), and the hindcast."""

    mean: Floats
    ahead: Floats
    sloped: np.ndarray
    hindcast: Hindcast


class GrowingSlopes(Selector):
    """Forecast log L as 3/4 growing slopes + 1/4 rectified law, and how wrong both can be together.

    The slopes (`growth.extrapolate`): the pool's mean slope and its coupling to the level grow linearly with log D, as
    they do in the pre-power phase of Zeng et al. 2025; what a candidate's own slope has beyond that persists as far
    as it was measured. Slopes count from where a model has learned the form of the task. The law: L(D) = B / (D_l +
    D^beta) + E, maximum a posteriori, for candidates with enough points; it knows that curves flatten.

    The forecast error has two parts. The common part moves all candidates alike; its standard deviation grows as n^1.5
    with n doublings ahead, as that of a slope that drifts at random, and it changes no ranking. The own part grows as
    n^1.1 and decides P(best). The scale of each comes from the task's own hindcasts (hide the last sizes and forecast
    them) with a prior from the published curves and the design tasks of our own (`error_scales` in the JSON of
    `python -m evidence own`). docs/evidence.md and docs/decisions.md say how the constants were chosen.

    Args:
        law_weight: weight of the law, between 0 and 1.
        lag_weight: weight of a slope one doubling older than another.
        common: prior of the common error.
        own: prior of each candidate's own error.
        draws: number of joint samples.
        seed: of the samples.
        laws: fitted so far, to be shared between selectors of the same curves.
    """

    name = "growing_slopes"

    def __init__(
        self,
        law_weight: float = 0.25,
        lag_weight: float = 0.6,
        common: ErrorScale = COMMON,
        own: ErrorScale = OWN,
        draws: int = 2000,
        seed: int = 0,
        laws: FittedLaws | None = None,
    ) -> None:
        self.law_weight = law_weight
        self.lag_weight = lag_weight
        self.common = common
        self.own = own
        self.draws = draws
        self.seed = seed
        self._laws = laws or FittedLaws()

    def forecast(self, curves: Curves, target_size: float) -> Forecast:
        """Forecast all candidates together."""
        check(curves, target_size)
        parts = self.parts(curves, target_size)
        samples = np.exp(np.clip(self.sample(parts), -LARGEST_LOG, LARGEST_LOG))
        return Forecast(curves.candidates, target_size, np.exp(parts.mean), samples)

    def parts(self, curves: Curves, target_size: float) -> Parts:
        """The point forecast and the hindcast, before any sampling."""
        logs = LogCurves.of(curves)
        x = float(np.log2(target_size))
        ahead = np.maximum(x - logs.last[0], 0)
        return Parts(
            self.points(logs, np.array([x]))[:, 0], ahead, logs.slopes.after_format_learning().any, self._hindcast(logs)
        )

    def sample(self, parts: Parts) -> Floats:
        """Joint samples of the log losses, shape (draws, K)."""
        rng = np.random.default_rng(self.seed)
        past, k = parts.hindcast, int(np.isfinite(parts.mean).sum())
        common = self.common.draw(past.common, past.origins, self.draws, rng) * parts.ahead**self.common.exponent
        own = self.own.draw(past.own, past.origins * (1 - 1 / max(k, 1)), self.draws, rng)
        unknown = np.where(parts.sloped, 0.0, NO_SLOPE_SD * parts.ahead)
        own = np.sqrt((own * parts.ahead**self.own.exponent) ** 2 + unknown**2 + READING_SD**2)
        shared = rng.standard_normal((self.draws, 1))
        return np.asarray(parts.mean + common * shared + own * rng.standard_normal((self.draws, parts.mean.size)))

    def points(self, logs: LogCurves, x: Floats) -> Floats:
        """Log losses at each x, shape (K, len(x))."""
        slopes = extrapolate(logs, x, self.lag_weight)
        if not logs.x.size:
            return slopes
        mixed = slopes
        if self.law_weight > 0:
            fitted = self._laws.log_losses(logs.x, logs.y, x)
            ahead = np.isfinite(fitted) & (x > logs.last[0][:, None])
            mixed = np.where(ahead, (1 - self.law_weight) * slopes + self.law_weight * fitted, slopes)
        return floor_at_pool_median(mixed, logs, x)

    def _hindcast(self, logs: LogCurves) -> Hindcast:
        """Errors of the same forecast made earlier: each of the last four sizes with three before it is an origin."""
        common: list[float] = []
        own: list[float] = []
        spare = 0
        origins = 0
        for columns in range(max(LEAST_POINTS, logs.x.size - ORIGINS), logs.x.size):
            past = logs.up_to(columns)
            sloped = past.slopes.after_format_learning().any
            before = len(common)
            errors = self.points(past, logs.x[columns:]) - logs.y[:, columns:]
            for error, x in zip(errors.T, logs.x[columns:], strict=True):
                error = error[np.isfinite(error) & sloped]
                if error.size:
                    ahead = float(x - past.x[-1])
                    common.append(error.mean() ** 2 / ahead ** (2 * self.common.exponent))
                    own.append(((error - error.mean()) ** 2).sum() / ahead ** (2 * self.own.exponent))
                    spare += error.size - 1
            origins += len(common) > before
        return Hindcast(float(np.mean(common)) if common else 0.0, sum(own) / max(spare, 1), origins)
