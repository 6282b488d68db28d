"""The default selector: growing slopes and the law together, with calibrated joint uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.selectors.base import Selector
from lensllm.selectors.error_paths import GrowingErrors
from lensllm.selectors.error_scale import CANDIDATE, COMMON, ErrorScale, Hindcast, shared_square
from lensllm.selectors.fitted_laws import FittedLaws
from lensllm.selectors.growth import extrapolate, floor_at_pool_median, not_above_last, steepness
from lensllm.selectors.log_curves import LogCurves
from lensllm.selectors.slopes import Slopes

ORIGINS = 4
"""Last sizes that are hidden and forecast: older ones say less of the forecast that is due."""
HINDCAST_POINTS = 3
"""Sizes that a hindcast starts from: two slopes and a first look at how they change."""
DRAWS = 2000
"""Possible worlds: a P(best) of 0.5 is then counted to 0.011, one of 0.95 to 0.005."""


@dataclass(frozen=True)
class PointForecast:
    """A forecast before any sampling.

    Attributes:
        candidates: names, K of them.
        target_size: one of the sizes.
        sizes: ascending, shape (S,).
        log_means: log of the point forecasts, shape (S, K), NaN where a candidate was not measured.
        doublings_ahead: of each size beyond a candidate's last measured one, 0 within, NaN likewise, shape (S, K).
        sloped: whether a slope is known, shape (K,).
        hindcast: errors of the same forecast made earlier.
        steepness: by how much each falls faster than is believed (`growth.steepness`), shape (K,); 0 if None.
    """

    candidates: tuple[str, ...]
    target_size: float
    sizes: Floats
    log_means: Floats
    doublings_ahead: Floats
    sloped: np.ndarray
    hindcast: Hindcast
    steepness: Floats | None = None


class GrowingSlopes(Selector):
    """Forecast log L as 3/4 growing slopes + 1/4 rectified law, and how wrong both can be together.

    The slopes (`growth.extrapolate`): the pool's mean slope and its coupling to the level grow linearly with log D, as
    they do in the pre-power phase of Zeng et al. 2025; what a candidate's own slope has beyond that persists as far
    as it was measured. Slopes count from where a model has learned the form of the task. The law: L(D) = B / (D_l +
    D^beta) + E, maximum a posteriori, for candidates with enough points; it knows that curves flatten.

    The error (`error_paths.GrowingErrors`) has two parts, with standard deviations c n^1.5 and o n^1.1 at n doublings
    beyond what was measured: a random slope common to all candidates, and a path of each candidate's own, which decides
    P(best). c and o come from the task's own hindcasts (hide the last sizes and forecast them) with a prior from the
    published curves and the design tasks of our own. docs/evidence.md and docs/decisions.md say how the constants were
    chosen.

    Args:
        law_weight: weight of the law, between 0 and 1.
        lag_weight: weight of a slope one doubling older than another.
        common: prior of the common error.
        candidate_error: prior of each candidate's own error.
        draws: number of joint samples.
        seed: of the samples.
        laws: fitted so far, to be shared between selectors of the same curves.

    >>> curves = Curves(("small", "large"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.65, 1.49, 1.35]])
    >>> forecast = GrowingSlopes().forecast(curves, 1600)
    >>> forecast.best, forecast.mean.round(2).tolist(), forecast.p_best.round(1).tolist()
    ('large', [1.14, 1.08], [0.2, 0.8])
    >>> forecast.interval(0.9).round(1).tolist()
    [[1.0, 1.3], [1.0, 1.2]]
    """

    name = "growing_slopes"

    def __init__(
        self,
        law_weight: float = 0.25,
        lag_weight: float = 0.6,
        common: ErrorScale = COMMON,
        candidate_error: ErrorScale = CANDIDATE,
        draws: int = DRAWS,
        seed: int = 0,
        laws: FittedLaws | None = None,
    ) -> None:
        self.law_weight = law_weight
        self.lag_weight = lag_weight
        self.common = common
        self.candidate_error = candidate_error
        self.draws = draws
        self.seed = seed
        self._laws = laws or FittedLaws()

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """Forecast all candidates together."""
        return self.with_errors(self.point_forecast(curves, target_size, sizes))

    def point_forecast(self, curves: Curves, target_size: float, sizes: Sequence[float] | Floats = ()) -> PointForecast:
        """The forecast before any sampling, at the target and other sizes."""
        logs = LogCurves.of(curves)
        asked = np.unique([target_size, *sizes])
        x = np.log2(asked)
        ahead = np.maximum(x[:, None] - logs.last[0], 0.0)
        slopes = Slopes.of(logs)
        means = self.log_losses(logs, x, slopes).T
        sloped = slopes.after_format_learning().any
        hindcast = self._hindcast(logs)
        return PointForecast(
            curves.candidates, target_size, asked, means, ahead, sloped, hindcast, steepness(logs, slopes)
        )

    def with_errors(self, point: PointForecast) -> Forecast:
        """The forecast with its joint uncertainty."""
        target = int(np.flatnonzero(point.sizes == point.target_size)[0])
        errors = GrowingErrors(
            point.candidates,
            point.doublings_ahead,
            target,
            point.sloped,
            point.hindcast,
            self.common,
            self.candidate_error,
            self.draws,
            self.seed,
            point.steepness,
        )
        return Forecast(point.candidates, point.target_size, point.sizes, np.exp(point.log_means), errors)

    def log_losses(self, logs: LogCurves, x: Floats, slopes: Slopes | None = None) -> Floats:
        """Point forecasts of the log losses at each x = log2(size), shape (K, len(x))."""
        slopes = slopes or Slopes.of(logs)
        by_slopes = extrapolate(logs, x, self.lag_weight, slopes)
        if not logs.x.size:
            return by_slopes
        mixed = by_slopes
        if self.law_weight > 0:
            fitted = self._laws.log_losses(logs.x, logs.y, x)
            weight = self.law_weight * np.clip(x - logs.last[0][:, None], 0.0, 1.0)
            mixed = np.where(np.isfinite(fitted) & (weight > 0), (1 - weight) * by_slopes + weight * fitted, by_slopes)
        return floor_at_pool_median(not_above_last(mixed, logs, x, slopes), logs, x, slopes)

    def _hindcast(self, logs: LogCurves) -> Hindcast:
        """Errors of the same forecast made earlier: each of the last four sizes with three before it is an origin.

        The common error is the median over candidates; of the others each candidate has its own mean square, and they
        are put together by `error_scale.shared_square`, so that no single candidate sets the scale for all.
        """
        common: list[float] = []
        own: list[Floats] = []
        origins = 0
        for columns in range(max(HINDCAST_POINTS, logs.x.size - ORIGINS), logs.x.size):
            past = logs.up_to(columns)
            slopes = Slopes.of(past)
            sloped = slopes.after_format_learning().any
            before = len(common)
            errors = self.log_losses(past, logs.x[columns:], slopes) - logs.y[:, columns:]
            for error, x in zip(errors.T, logs.x[columns:], strict=True):
                error = np.where(np.isfinite(error) & sloped, error, np.nan)
                if np.isfinite(error).any():
                    ahead, middle = float(x - past.x[-1]), float(np.nanmedian(error))
                    common.append(middle**2 / ahead ** (2 * self.common.exponent))
                    own.append((error - middle) ** 2 / ahead ** (2 * self.candidate_error.exponent))
            origins += len(common) > before
        if not common:
            return Hindcast(0.0, 0.0, 0)
        return Hindcast(float(np.mean(common)), shared_square(np.array(own)), origins)
