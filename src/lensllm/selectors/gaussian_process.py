"""Curves of noisy readings as Gaussian processes over log size: what scores are forecast with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Errors, Forecast, Rows, stream
from lensllm.selectors.base import Selector
from lensllm.selectors.log_curves import LogCurves

DRAWS = 2000
"""As of the default selector."""
TIMES = (0.5, 1.0, 2.0)
"""Drift and reading are known to such a factor; the task's own curves say which."""
FLAT = 10.0
"""Standard deviation of the pool's level on the log scale: nothing is known of it."""
NUGGET = 1e-9
"""Added to variances, relative: sizes that are nearly the same are told apart no further than that."""
DIGITS = 10
"""Of beliefs: what is left of rounding, so that a forecast does not depend on which other sizes are asked for."""
DRAWN_DIGITS = 7
"""Of drawn errors, for the same reason."""
SCALE_STREAM, COMMON_STREAM, FURTHER_STREAM, OWN_STREAM, PATH_STREAM = range(10, 15)
"""Of random numbers, after those of `selectors.error_paths` and of the test error."""


@dataclass(frozen=True)
class Scales:
    """Standard deviations of the parts of a curve on the log scale; x in doublings of the number of examples.

    Those given are for the odds of a wrong answer, chosen by marginal likelihood and error on the design half of the
    public score curves (docs/decisions.md).

    Attributes:
        slope: expected slope of the pool, a doubling.
        slope_sd: of the same.
        drift: of the pool's curve beside its line, Brownian: it grows with the root of x.
        apart: of a candidate beside the pool.
        length: doublings over which a candidate forgets where it stood beside the pool (Ornstein and Uhlenbeck).
        reading: of a reading beside what its test examples bring: another run would differ by that.
    """

    slope: float = -0.25
    slope_sd: float = 0.12
    drift: float = 0.16
    apart: float = 1.0
    length: float = 30.0
    reading: float = 0.06

    def times(self, drift: float, reading: float) -> Scales:
        """These with other drifts and another error of reading."""
        return replace(self, drift=self.drift * drift, length=self.length / drift**2, reading=self.reading * reading)

    def common(self, x: Floats) -> Floats:
        """Covariance of the pool's curve at x."""
        line = FLAT**2 + self.slope_sd**2 * np.outer(x, x)
        return np.asarray(line + self.drift**2 * np.minimum.outer(x, x))

    def own(self, x: Floats, z: Floats) -> Floats:
        """Covariance of what a candidate has beside it at x and z."""
        return np.asarray(self.apart**2 * np.exp(-np.abs(x[:, None] - z) / self.length))


@dataclass(frozen=True)
class Beliefs:
    """What readings say of a pool of curves, given some scales.

    Attributes:
        scales: given.
        evidence: log marginal likelihood of the readings.
        mean: of the curves at the S sizes asked for, shape (S, K).
        own: covariance of each candidate's own curve, shape (K, S, S).
        common: of the pool's curve at the asked, then the M measured sizes, shape (S + M, S + M).
        gains: of what a reading is above the pool's curve, the part that a candidate is above it at the sizes asked
            for, shape (K, S, M).
    """

    scales: Scales
    evidence: float
    mean: Floats
    own: Floats
    common: Floats
    gains: Floats


def believe(scales: Scales, x: Floats, y: Floats, error: Floats, at: Floats) -> Beliefs:
    """The beliefs from readings y at x.

    With f the pool's curve, candidate k reads y_k = f(x) + g_k(x) + noise; f, the g_k and the noise are Gaussian and
    independent, so that each candidate adds what it says of f at the measured sizes.

    Args:
        scales: of all parts.
        x: log2 of the measured sizes less that of the first, shape (M,).
        y: readings, shape (K, M), NaN where there is none.
        error: standard errors of the same.
        at: where to, shape (S,), as x.
    """
    s, m, k = at.size, x.size, len(y)
    prior = scales.common(np.concatenate([at, x]))
    rest = y - scales.slope * x
    information, pull, evidence = np.zeros((m, m)), np.zeros(m), 0.0
    mean, own, gains = np.zeros((s, k)), np.zeros((k, s, s)), np.zeros((k, s, m))
    for row, seen in enumerate(np.isfinite(y)):
        covariance = scales.own(x[seen], x[seen]) + np.diag(error[row, seen] ** 2 + scales.reading**2)
        inverse = np.linalg.inv(covariance)
        gains[row][:, seen] = scales.own(at, x[seen]) @ inverse
        own[row] = scales.own(at, at) - gains[row][:, seen] @ scales.own(x[seen], at)
        mean[:, row] = gains[row][:, seen] @ rest[row, seen]
        information[np.ix_(seen, seen)] += inverse
        pull[seen] += inverse @ rest[row, seen]
        evidence -= 0.5 * float(rest[row, seen] @ inverse @ rest[row, seen] + np.linalg.slogdet(covariance)[1])
    inner = np.eye(m) + prior[s:, s:] @ information
    common = prior - prior[:, s:] @ information @ np.linalg.solve(inner, prior[s:])
    centre = common[:, s:] @ pull
    evidence += 0.5 * float(pull @ centre[s:] - np.linalg.slogdet(inner)[1])
    mean += (scales.slope * at + centre[:s])[:, None] - (gains @ centre[s:]).T
    return Beliefs(scales, evidence, mean, own, (common + common.T) / 2, gains)


class GaussianProcess(Selector):
    """Forecast log L as a Gaussian process of log2 D with the error of every reading in it.

    A curve is the pool's (a line and a Brownian drift) and a candidate's own beside it (Ornstein and Uhlenbeck's
    process: it persists and is slowly forgotten), read with the error of its test examples and that of the run. All
    parts are Gaussian, so beliefs have a closed form (Rasmussen and Williams 2006, chapter 2; for learning curves
    Swersky et al. 2014). Scales of drift and reading are averaged over by how likely they make the task's readings.

    Made for scores, as the odds of a wrong answer (`Objective.to_loss`), whose readings are noisy.

    Args:
        scales: of the parts.
        draws: number of joint samples.
        seed: of the samples.

    >>> odds = Curves(("a", "b"), [50, 100, 200, 400], [[1.5, 1.1, 0.9, 0.7], [1.0, 0.9, 0.85, 0.8]])
    >>> forecast = GaussianProcess().forecast(odds, 1600)
    >>> forecast.best, forecast.mean.round(1).tolist(), forecast.p_best.round(1).tolist()
    ('a', [0.5, 0.5], [0.6, 0.4])
    """

    name = "gaussian_process"

    def __init__(self, scales: Scales | None = None, draws: int = DRAWS, seed: int = 0) -> None:
        self.scales = scales or Scales()
        self.draws = draws
        self.seed = seed

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """Forecast all candidates together."""
        logs = LogCurves.of(curves)
        known = np.asarray(np.isfinite(logs.y).any(axis=1))
        errors = _log_errors(curves, logs)[known]
        order = np.argsort(sizes != target_size, kind="stable")
        first = logs.x.min(initial=np.inf if logs.x.size else 0.0)
        x, at = logs.x - first, np.log2(sizes[order]) - first
        fitted = [believe(self.scales.times(a, b), x, logs.y[known], errors, at) for a, b in product(TIMES, TIMES)]
        likely = np.array([one.evidence for one in fitted])
        weights = np.exp(likely - likely.max()) / np.exp(likely - likely.max()).sum()
        mean = np.einsum("w,wsk->sk", weights, [one.mean for one in fitted])
        names = [name for name, seen in zip(curves.candidates, known, strict=True) if seen]
        back = np.argsort(order)
        means = np.full((sizes.size, len(known)), np.nan)
        means[:, known] = np.round(mean[back], DIGITS)
        made = ProcessErrors(names, fitted, weights, mean, back, self.draws, self.seed)
        rows = np.where(known, np.cumsum(known) - 1, -1)
        return Forecast(curves.candidates, target_size, sizes, np.exp(means), made, rows)


def _log_errors(curves: Curves, logs: LogCurves) -> Floats:
    """Standard errors of the readings on the log scale, 0 where unknown, shape (K, M)."""
    at = np.isin(curves.sizes, 2.0**logs.x) | np.isin(np.log2(np.maximum(curves.sizes, 1)), logs.x) & (curves.sizes > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(curves.standard_errors / curves.losses, posinf=0.0)[:, at])


class ProcessErrors(Errors):
    """Joint errors of the forecast: each possible world has scales of its own and a curve of the pool.

    Args:
        names: of the K candidates.
        fitted: beliefs for each of the scales, at the target first.
        weights: of the scales.
        mean: point forecasts, shape (S, K), in the same order of sizes.
        back: position of each ascending size in that order.
        draws: number of possible worlds.
        seed: of all draws.
    """

    def __init__(
        self,
        names: list[str],
        fitted: list[Beliefs],
        weights: Floats,
        mean: Floats,
        back: Rows,
        draws: int,
        seed: int,
    ) -> None:
        self.draws = draws
        self._names, self._fitted, self._mean, self._back, self._seed = names, fitted, mean, back, seed
        chance = stream(seed, SCALE_STREAM).random(draws)
        self._world = np.minimum(np.searchsorted(np.cumsum(weights), chance), len(fitted) - 1)
        square = [
            (one.mean - mean) ** 2 + np.diagonal(one.own, axis1=1, axis2=2).T + one.scales.reading**2 for one in fitted
        ]
        self.sd = np.sqrt(np.einsum("w,wsk->sk", weights, square))[back]
        self._roots = lru_cache(maxsize=None)(self._root)
        self._pool = self._pool_curves()

    def _pool_curves(self) -> Floats:
        """Errors of the pool's curve at asked and measured sizes, shape (draws, S + M)."""
        s = len(self._mean)
        width = len(self._fitted[0].common)
        first = np.concatenate([[0], np.arange(s, width), np.arange(1, s)])
        z = np.concatenate(
            [
                stream(self._seed, COMMON_STREAM).standard_normal((self.draws, width - s + 1)),
                stream(self._seed, FURTHER_STREAM).standard_normal((self.draws, s - 1)),
            ],
            axis=1,
        )
        drawn = np.zeros((self.draws, width))
        for world, one in enumerate(self._fitted):
            mine = np.flatnonzero(self._world == world)
            drawn[np.ix_(mine, first)] = z[mine] @ _root_of(one.common[np.ix_(first, first)]).T
        return drawn

    def common(self, rows: Rows, at: Rows) -> Floats:
        """What an error of the pool's curve brings, shape (draws, len(at), len(rows))."""
        s, asked = len(self._mean), self._back[at]
        total = np.zeros((self.draws, len(at), len(rows)))
        for world, one in enumerate(self._fitted):
            mine = np.flatnonzero(self._world == world)
            pool, gains = self._pool[mine], one.gains[rows][:, asked]
            total[mine] = pool[:, asked][:, :, None] - np.einsum("dm,ksm->dsk", pool[:, s:], gains)
        return np.round(total, DRAWN_DIGITS)

    def own(self, rows: Rows, at: Rows, draws: int | None = None) -> Floats:
        """Each candidate's own path, the difference between scales and one error of reading a world."""
        count, asked = min(draws or self.draws, self.draws), self._back[at]
        total = np.zeros((count, len(at), len(rows)))
        for column, k in enumerate(rows):
            z = stream(self._seed, OWN_STREAM, self._names[k]).standard_normal((2, self.draws))
            further = stream(self._seed, PATH_STREAM, self._names[k])
            path = np.column_stack([z[0], further.standard_normal((self.draws, len(self._mean) - 1))])
            for world, one in enumerate(self._fitted):
                mine = np.flatnonzero(self._world[:count] == world)
                drawn = path[mine] @ self._roots(world, int(k)).T + (one.mean - self._mean)[:, k]
                total[mine, :, column] = drawn[:, asked] + one.scales.reading * z[1][mine, None]
        return np.round(total, DRAWN_DIGITS)

    def _root(self, world: int, k: int) -> Floats:
        return _root_of(self._fitted[world].own[k])


def _root_of(covariance: Floats) -> Floats:
    """Its Cholesky root, after rounding."""
    rounded = np.round(covariance, DIGITS)
    return np.asarray(np.linalg.cholesky(rounded + NUGGET * np.diag(1 + np.diag(rounded))))
