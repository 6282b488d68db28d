"""Joint samples of every candidate's whole curve, from the first measured size to far beyond the data at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import truncnorm

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import Forecast
from lensllm.laws import Prior, RectifiedLaw
from lensllm.selectors import Selector, default_selector
from lensllm.selectors.base import check

LAW_SHARE = 0.25
"""Part of the draws that follow the law beyond the data at hand: the law's weight in the default forecast."""
STEPS_A_DOUBLING = 2
"""Of the grid: curves are interpolated between its sizes, and hardly bend within half a doubling."""
HORIZON = 10
"""Doublings beyond the data at hand; the forecasts were checked to 9 beyond what was measured."""


def plan_sizes(curves: Curves, size: float) -> Floats:
    """The grid of a plan: two sizes a doubling, from the first measured one to 2^10 times the data at hand, shape (S,).

    `size` and its doubles are on it.

    Raises:
        InputError: if there is no candidate, nothing was measured after fine-tuning, or `size` is not above 0.

    >>> curves = Curves(("a",), [50, 100, 200], [[1.8, 1.7, 1.6]])
    >>> grid = plan_sizes(curves, 200)
    >>> grid[:7].round().tolist(), float(grid[-1])
    ([50.0, 71.0, 100.0, 141.0, 200.0, 283.0, 400.0], 204800.0)
    """
    check(curves, size)
    measured = curves.sizes[(curves.sizes > 0) & np.isfinite(curves.losses).any(axis=0)]
    if not measured.size:
        raise InputError("nothing was measured after fine-tuning: give losses at one or more sizes above 0")
    start = -int(np.ceil(STEPS_A_DOUBLING * max(0.0, np.log2(size / measured[0]))))
    return np.asarray(size * 2.0 ** (np.arange(start, STEPS_A_DOUBLING * HORIZON + 1) / STEPS_A_DOUBLING))


@dataclass(frozen=True)
class CurveSamples:
    """The paths of a forecast as curves that never rise, and what becomes of them beyond the data at hand.

    At the data at hand N a curve is the forecast's own sample, so that everything said there is what the forecast says.
    What more data spoil, less data keep: before N a curve is the highest that its path will be up to N, beyond it the
    lowest that it was from N on. Beyond N it goes on in one of two ways:

        3/4 of the draws    L(D) = max(min over N <= d <= D of the path at d, E)
        1/4 of the draws    L(D) = L(N) law(D) / law(N)

    law is a draw from the posterior of the rectified law, given the candidate's measured losses. E is the floor of such
    a draw, one below L(N). A candidate with fewer than four measured sizes, or whose losses do not fall, has no law:
    all its draws go the first way, with the law's prior for E, half the lowest loss, give or take 0.35.

    Attributes:
        forecast: at the data at hand and the sizes of the grid.
        sizes: the grid (`plan_sizes`), shape (S,).
        losses: shape (S, draws, K), NaN for a candidate without a forecast.
        curves: what was measured.

    >>> curves = Curves(("a", "b"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.74, 1.68, 1.63]])
    >>> samples = CurveSamples.draw(curves, 1600)
    >>> samples.losses.shape, samples.candidates[samples.best]
    ((31, 2000, 2), 'a')
    >>> np.median(samples.at(3200), axis=0).round(2).tolist()
    [1.11, 1.46]
    >>> np.median(samples.needed(1.2), axis=0).round(-2).tolist()
    [1300.0, inf]
    """

    forecast: Forecast
    sizes: Floats
    losses: Floats
    curves: Curves

    @classmethod
    def draw(cls, curves: Curves, size: float, selector: Selector | None = None, seed: int = 0) -> CurveSamples:
        """Forecast and go on.

        Args:
            curves: what was measured.
            size: training examples at hand.
            selector: makes the forecast; the default for these curves if None.
            seed: of what comes beyond the data at hand.

        Raises:
            InputError: as `plan_sizes`.
        """
        sizes = plan_sizes(curves, size)
        return cls.of((selector or default_selector(curves)).forecast(curves, size, sizes), curves, seed)

    @classmethod
    def of(cls, forecast: Forecast, curves: Curves, seed: int = 0, floored: bool = True) -> CurveSamples:
        """The curves of a forecast made with the sizes of `plan_sizes`; candidates not fine-tuned are left out.

        Args:
            forecast: of `curves`.
            curves: what was measured.
            seed: of what comes beyond the data at hand.
            floored: whether curves have a floor and a law, as losses have; without, all go on as their path does.

        Raises:
            InputError: if it lacks one of the sizes, or as `plan_sizes`.
        """
        names = sorted(name for name, method in zip(forecast.candidates, forecast.methods, strict=True)
                       if method != "none")  # fmt: skip
        size, grid = forecast.target_size, plan_sizes(curves, forecast.target_size)
        at = [int(np.flatnonzero(forecast.sizes == forecast.at(d).target_size)[0]) for d in grid]
        made, known = forecast.of(names), curves.of(names)
        losses = made.paths[:, at].transpose(1, 0, 2)
        here = int(np.argmin(np.abs(grid - size)))
        losses[here] = made.samples
        losses[: here + 1] = np.maximum.accumulate(losses[here::-1], axis=0)[::-1]
        if floored:
            losses[here:] = _beyond(losses[here:], known, grid[here:], seed)
        else:
            losses[here:] = np.minimum.accumulate(losses[here:], axis=0)
        back = [names.index(name) for name in curves.candidates]
        return cls(forecast.of(curves.candidates), grid, losses[:, :, back], curves)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names, K of them."""
        return self.forecast.candidates

    @property
    def size(self) -> float:
        """Examples at hand."""
        return self.forecast.target_size

    @property
    def points(self) -> Floats:
        """Point forecasts at the data at hand, shape (K,)."""
        return self.forecast.mean

    @property
    def best(self) -> int:
        """Position of the candidate with the lowest point forecast."""
        return int(self.forecast.order[0])

    @property
    def zero_shot(self) -> Floats:
        """Loss of each candidate before any fine-tuning, NaN where not measured, shape (K,)."""
        return self.curves.at(0) if 0 in self.curves.sizes else np.full(len(self.candidates), np.nan)

    def at(self, size: float) -> Floats:
        """Samples at one size of the grid, shape (draws, K)."""
        return np.asarray(self.losses[int(np.argmin(np.abs(np.log(self.sizes / size))))])

    def needed(self, loss: float | Floats) -> Floats:
        """Examples at which each sampled curve first reaches a loss, shape (draws, K).

        Infinite where it does not within 2^10 times the data at hand; 0 where the candidate is there as it came; the
        smallest measured size where it is there from the first rung on; interpolated in log-log between grid points.

        Args:
            loss: one number, or one a draw, shape (draws, 1).
        """
        goal = np.broadcast_to(np.asarray(loss, dtype=float), self.losses.shape[1:])
        reached = self.losses <= goal
        first = reached.argmax(axis=0)
        before = np.maximum(first - 1, 0)
        above, below = (np.take_along_axis(self.losses, at[None], axis=0)[0] for at in (before, first))
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.log(above / goal) / np.log(above / below)
        part = np.where(first > 0, np.clip(np.nan_to_num(part), 0.0, 1.0), 1.0)
        needed = self.sizes[before] * (self.sizes[first] / self.sizes[before]) ** part
        needed = np.where(reached.any(axis=0), needed, np.inf)
        return np.where(np.isnan(self.losses[0]), np.nan, np.where(self.zero_shot <= goal, 0.0, needed))


def _beyond(losses: Floats, curves: Curves, sizes: Floats, seed: int) -> Floats:
    """Sampled curves from the data at hand on, shape (S, draws, K), given the paths there."""
    draws = losses.shape[1]
    rng = np.random.default_rng([seed, 1])
    floor, law = _floors(curves, sizes, draws, seed)
    by_path = np.maximum(np.minimum.accumulate(losses, axis=0), _below(floor, losses[0], rng))
    by_law = (rng.random(floor.shape) < LAW_SHARE) & np.isfinite(law[0])
    return np.where(by_law, losses[0] * law, by_path)


def _floors(curves: Curves, sizes: Floats, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Draws of each candidate's floor, shape (draws, K), and of its law.

    Returns:
        The floors, and the law at the sizes over the law at the first of them, shape (S, draws, K), NaN where there is
        no law.
    """
    tuned = curves.sizes > 0
    losses = np.where(curves.losses[:, tuned] > 0, curves.losses[:, tuned], np.nan)
    lowest = np.where(np.isfinite(losses), losses, np.inf).min(axis=1)
    prior = Prior()
    center, spread = prior.floor
    share = truncnorm(-center / spread, (1 - center) / spread, center, spread)
    floors = np.asarray(share.rvs((draws, len(losses)), random_state=seed)) * lowest
    law = RectifiedLaw(prior=prior, starts=1).fit(curves.sizes[tuned], losses)
    drawn = law.sample(sizes, draws, seed)
    fitted = law.status_ == "ok"
    floors[:, fitted] = law.sample_params(draws, seed)["E"][:, fitted]
    return floors, np.moveaxis(drawn / drawn[..., :1], 2, 0)


def _below(floors: Floats, losses: Floats, rng: np.random.Generator) -> Floats:
    """For each sampled loss one of its candidate's floors below it, or the loss itself where there is none."""
    chosen = losses.copy()
    for k in range(losses.shape[1]):
        ordered = np.sort(floors[:, k])
        count = np.searchsorted(ordered, losses[:, k])
        pick = (rng.random(len(count)) * count).astype(int)
        chosen[:, k] = np.where(count > 0, ordered[np.minimum(pick, len(ordered) - 1)], losses[:, k])
    return chosen
