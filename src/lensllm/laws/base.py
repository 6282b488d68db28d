"""The grammar all laws share: fit, predict, sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from lensllm.arrays import Floats
from lensllm.errors import InputError
from lensllm.laws.fit import BETA, LOG_ZERO, LOWER, UPPER, E, F, Points, R, Target, expand, log_law, minimise, misfit
from lensllm.laws.posterior import resample

NAMES = ("B", "F", "beta", "E")
NOISE_PRIOR = (1.0, 0.005)
CONSTANT = 1e-6
FIT_CHUNK = 500
SAMPLE_CHUNK = 16  # the proposals of so many curves stay in cache


@dataclass(frozen=True)
class Prior:
    """Independent normal priors that turn least squares into maximum a posteriori; one for all curves or one each.

    The defaults are wide around what least squares finds on the published curves (log F 2.3 +- 3, log beta -1.4 +- 0.6,
    E over the lowest loss 0.5 +- 0.35).

    Attributes:
        log_f: mean and standard deviation of log F, each a number or of shape (N,).
        log_beta: mean and standard deviation of log beta, likewise.
        floor: mean and standard deviation of E over the lowest loss measured.
        least_points: from how many points a curve is fitted; None: as many as it has free parameters.

    >>> from lensllm.laws import RectifiedLaw
    >>> sizes, losses = [50, 100, 200], [1.60, 1.50, 1.41]
    >>> RectifiedLaw().fit(sizes, losses).status_.item()
    'too few points'
    >>> RectifiedLaw(Prior(least_points=2)).fit(sizes, losses).predict(400).round(2).item()
    1.32
    """

    log_f: tuple[float | Floats, float | Floats] = (2.5, 3.0)
    log_beta: tuple[float | Floats, float | Floats] = (-1.3, 0.6)
    floor: tuple[float, float] = (0.5, 0.35)
    least_points: int | None = None

    def of(self, rows: list[int]) -> Prior:
        """The priors of some of the curves."""
        log_f, log_beta = (
            (_some(mean, rows), _some(deviation, rows)) for mean, deviation in (self.log_f, self.log_beta)
        )
        return replace(self, log_f=log_f, log_beta=log_beta)


def _some(value: float | Floats, rows: list[int]) -> float | Floats:
    return value[rows] if isinstance(value, np.ndarray) and value.ndim else value


class Law(ABC):
    """A parametric learning curve L(D) = B / (F + D^beta) + E, fitted to many curves at once.

    Residuals are of log losses, as Lin et al. 2024 measure their fits, so a common factor on the losses scales B and E
    and changes nothing else. The noise level has a weak prior, one observation at 0.005 (the published curves' median
    in-sample log-RMSE), so that a curve with as many points as parameters is not taken for noiseless.

    Args:
        prior: None for least squares, a `Prior` for maximum a posteriori.
        f_scale: None for plain squares; else the residual above which the loss grows linearly (scipy's `soft_l1`).
        starts: valleys of the (F, beta) profile to polish; one was enough on every published curve.

    Attributes:
        params_: B, F, beta and E, each of shape (N,); NaN where `status_` is not "ok".
        covariance_: of (B, F, beta, E) by the delta method, shape (N, 4, 4); zero where a parameter is not free.
        noise_: standard deviation of the log losses around the law, shape (N,).
        log_rmse_: root mean square residual of the log losses, shape (N,).
        status_: "ok", "too few points" (fewer than free parameters), "rising" or "constant", shape (N,).

    >>> class ShiftedLaw(Law):  # F is known to be 30
    ...     name = "shifted"
    ...     def _log_f_bounds(self, curves):
    ...         return np.full(curves, np.log(30.0)), np.full(curves, np.log(30.0))
    >>> sizes = np.array([50, 100, 200, 400, 800])
    >>> law = ShiftedLaw().fit(sizes, 8 / (30 + sizes**0.5) + 1)
    >>> {name: value.round(2).item() for name, value in law.params_.items()}
    {'B': 8.0, 'F': 30.0, 'beta': 0.5, 'E': 1.0}
    >>> law.predict(6400).round(3).item(), law.sample(6400, draws=100).shape
    (1.073, (100, 1, 1))
    """

    name: ClassVar[str]
    uses_zero: ClassVar[bool] = True

    def __init__(self, prior: Prior | None = None, f_scale: float | None = None, starts: int = 3) -> None:
        self.prior = prior
        self.f_scale = f_scale
        self.starts = starts

    @abstractmethod
    def _log_f_bounds(self, curves: int) -> tuple[Floats, Floats]:
        """Lower and upper bound of log F for each curve, shapes (N,); equal where F is known."""

    def fit(self, sizes: ArrayLike, losses: ArrayLike) -> Self:
        """Fit every curve.

        Args:
            sizes: numbers of training examples, shape (S,), 0 allowed.
            losses: shape (S,) for one curve or (N, S) for many; NaN where not measured.

        Raises:
            InputError: if the shapes do not agree, a size is negative or a loss is not above 0.
        """
        x, y = _checked(sizes, losses)
        if not self.uses_zero:
            x, y = x[x > LOG_ZERO], y[:, x > LOG_ZERO]
        n = len(y)
        self._lower, self._upper = np.tile(LOWER, (n, 1)), np.tile(UPPER, (n, 1))
        self._lower[:, F], self._upper[:, F] = self._log_f_bounds(n)
        self._free = self._lower < self._upper
        least = self.prior.least_points if self.prior is not None else None
        self.status_ = _status(x, y, self._free.sum(1) if least is None else np.full(n, least))
        seen = np.isfinite(y)
        self._level = np.where(seen, y, 0.0).sum(1) / np.maximum(seen.sum(1), 1)
        tuned = seen & (x > LOG_ZERO)
        center = np.where(tuned, x, 0.0).sum(1) / np.maximum(tuned.sum(1), 1)
        scaled = np.where(seen, y - self._level[:, None], 0.0)
        self._points = Points(np.broadcast_to(x, y.shape), scaled, seen * 1.0, center)
        self._mean, self._precision = self._prior_of(scaled, seen)
        self._theta, self.noise_, self.log_rmse_ = np.full((n, 4), np.nan), np.full(n, np.nan), np.full(n, np.nan)
        self._theta_covariance = np.full((n, 4, 4), np.nan)
        for rows in self._chunks(FIT_CHUNK):
            self._fit_rows(rows)
        return self

    def _chunks(self, size: int) -> Iterator[np.ndarray]:
        ok = np.flatnonzero(self.status_ == "ok")
        for begin in range(0, ok.size, size):
            yield ok[begin : begin + size]

    def _prior_of(self, y: Floats, seen: np.ndarray) -> tuple[Floats, Floats]:
        mean, precision = np.zeros((len(y), 4)), np.zeros((len(y), 4))
        if self.prior is not None:
            lowest = np.exp(np.where(seen, y, np.inf).min(1, initial=0.0))
            for column, (center, deviation) in ((F, self.prior.log_f), (BETA, self.prior.log_beta)):
                mean[:, column], precision[:, column] = center, np.asarray(deviation, dtype=float) ** -2
            mean[~self._free], precision[~self._free] = 0.0, 0.0
            mean[:, E], precision[:, E] = self.prior.floor[0] * lowest, (self.prior.floor[1] * lowest) ** -2
        return mean, precision

    def _target(self, rows: np.ndarray, scale: Floats, precision: Floats) -> Target:
        return Target(self._lower[rows], self._upper[rows], self._mean[rows], precision, scale, self.f_scale)

    def _fit_rows(self, rows: np.ndarray) -> None:
        points = self._points.of(rows)
        flat = self._target(rows, np.ones(rows.size), np.zeros((rows.size, 4)))
        theta, _ = minimise(points, flat, self.starts)
        squares = 2 * misfit(points, flat, theta[:, None])[:, 0]
        spare = np.maximum(points.seen.sum(1) - self._free[rows].sum(1), 0)
        degrees, scale = NOISE_PRIOR
        noise = np.sqrt((squares + degrees * scale**2) / (spare + degrees))
        target = self._target(rows, noise, self._precision[rows])
        if self.prior is not None:
            theta, _ = minimise(points, target, self.starts)
        _, _, information = expand(points, target, theta)
        width = np.where(self._free[rows], self._upper[rows] - self._lower[rows], 1.0)
        information += np.eye(4) * (12 / width**2)[:, None]  # no wider than uniform between the bounds
        free = self._free[rows][:, :, None] & self._free[rows][:, None]
        both = np.where(free, information, np.eye(4))
        self._theta_covariance[rows] = np.linalg.inv(both) * free
        self._theta[rows], self.noise_[rows] = theta, noise
        residual = (log_law(theta, points.x, points.center) - points.y) * points.seen
        self.log_rmse_[rows] = np.sqrt((residual**2).sum(1) / points.seen.sum(1))

    @property
    def params_(self) -> dict[str, Floats]:
        """The fitted B, F, beta and E of every curve."""
        return self._natural(self._theta)

    def _natural(self, theta: Floats) -> dict[str, Floats]:
        r, f, beta = np.exp(theta[..., R]), np.exp(theta[..., F]), np.exp(theta[..., BETA])
        level = np.exp(self._level)
        return {
            "B": level * r * (f + np.exp(beta * self._points.center)),
            "F": f,
            "beta": beta,
            "E": level * theta[..., E],
        }

    @property
    def covariance_(self) -> Floats:
        """Covariance of (B, F, beta, E), shape (N, 4, 4)."""
        b, f, beta, _ = self.params_.values()
        slope = np.exp(beta * self._points.center)
        turn = np.zeros((len(b), 4, 4))
        turn[:, 0, R], turn[:, 0, F] = b, b * f / (f + slope)
        turn[:, 0, BETA] = b * slope / (f + slope) * beta * self._points.center
        turn[:, 1, F], turn[:, 2, BETA], turn[:, 3, E] = f, beta, np.exp(self._level)
        return np.asarray(turn @ self._theta_covariance @ turn.swapaxes(1, 2))

    def predict(self, sizes: ArrayLike) -> Floats:
        """Losses of every curve at these sizes, shape (N, len(sizes)); NaN where `status_` is not "ok"."""
        return self._curve(self._theta, sizes)

    def _curve(self, theta: Floats, sizes: ArrayLike) -> Floats:
        x = _log(np.atleast_1d(np.asarray(sizes, dtype=float)))
        return np.exp(log_law(theta, np.broadcast_to(x, (len(theta), x.size)), self._points.center)) * np.exp(
            self._level[:, None]
        )

    def sample_params(self, draws: int = 256, seed: int = 0) -> dict[str, Floats]:
        """Joint posterior samples of B, F, beta and E, each of shape (draws, N)."""
        return self._natural(self._sample(draws, seed))

    def sample(self, sizes: ArrayLike, draws: int = 256, seed: int = 0) -> Floats:
        """Posterior samples of the curves, without measurement noise, shape (draws, N, len(sizes))."""
        return np.stack([self._curve(theta, sizes) for theta in self._sample(draws, seed)])

    def _sample(self, draws: int, seed: int) -> Floats:
        rng = np.random.default_rng(seed)
        theta = np.full((draws, len(self._theta), 4), np.nan)
        for rows in self._chunks(SAMPLE_CHUNK):
            target = self._target(rows, self.noise_[rows], self._precision[rows])
            at, covariance = self._theta[rows], self._theta_covariance[rows]
            points = self._points.of(rows)
            if self.f_scale is not None:
                off = (log_law(at, points.x, points.center) - points.y) / self.f_scale
                points = replace(points, seen=points.seen * (1 + off**2) ** -0.25)
            theta[:, rows] = resample(points, target, at, covariance, NOISE_PRIOR, draws, rng)
        return theta


def _log(sizes: Floats) -> Floats:
    return np.where(sizes > 0, np.log(np.where(sizes > 0, sizes, 1.0)), LOG_ZERO)


def _checked(sizes: ArrayLike, losses: ArrayLike) -> tuple[Floats, Floats]:
    """log sizes, shape (S,), and log losses, shape (N, S)."""
    sizes = np.asarray(sizes, dtype=float)
    losses = np.atleast_2d(np.asarray(losses, dtype=float))
    if sizes.ndim != 1 or losses.ndim != 2 or losses.shape[1] != sizes.size:
        raise InputError(f"expected one loss a size, got sizes {sizes.shape} and losses {losses.shape}")
    if np.any(sizes < 0) or not np.all(np.isfinite(sizes)):
        raise InputError("sizes must be numbers of examples, 0 or more")
    if np.any(losses <= 0) or np.any(np.isinf(losses)):
        raise InputError("losses must be above 0 and finite; put NaN where nothing was measured")
    return _log(sizes), np.log(losses)


def _status(x: Floats, y: Floats, least: np.ndarray) -> np.ndarray:
    """What each curve can support: "ok" or why not."""
    tuned = np.isfinite(y) & (x > LOG_ZERO)
    count = tuned.sum(1)
    mean = np.where(tuned, x, 0.0).sum(1) / np.maximum(count, 1)
    tilt = np.where(tuned, (x - mean[:, None]) * y, 0.0).sum(1)
    spread = np.where(tuned, y, -np.inf).max(1, initial=-np.inf) - np.where(tuned, y, np.inf).min(1, initial=np.inf)
    several = count > 1
    reasons = [np.isfinite(y).sum(1) < least, several & (spread < CONSTANT), several & (tilt >= 0)]
    return np.select(reasons, ["too few points", "constant", "rising"], default="ok")
