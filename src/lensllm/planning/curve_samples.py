"""Joint samples of every candidate's whole curve, from the first measured size to far beyond the data at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import truncnorm

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.laws import Prior, RectifiedLaw
from lensllm.selectors import GrowingSlopes
from lensllm.selectors.base import check
from lensllm.selectors.growing_slopes import LARGEST_LOG
from lensllm.selectors.slopes import LogCurves

DRAWS = 1000
STEPS_A_DOUBLING = 2
HORIZON = 10  # doublings beyond the data at hand; the forecasts were checked to 9 beyond what was measured


@dataclass(frozen=True)
class CurveSamples:
    """One draw is one possible world: a curve for every candidate, falling or flat.

    A curve follows one joint sample of the LensLLM forecast through all sizes and never rises (what more data spoil,
    less data keep). Beyond the data at hand N it goes on in one of two ways, weighed as in the forecast itself:

        3/4 of the draws    L(D) = max(min over d <= D of forecast(d), E)
        1/4 of the draws    L(D) = L(N) law(D) / law(N)

    law is a draw from the posterior of the rectified law, given the candidate's measured losses. E is the floor of such
    a draw, one below L(N). A candidate with fewer than four measured sizes, or whose losses do not fall, has no law:
    all its draws go the first way, with the law's prior for E, half the lowest loss, give or take 0.35.

    Attributes:
        candidates: names, K of them.
        size: examples at hand.
        sizes: the grid, two a doubling, shape (S,); `size` and its doubles are on it.
        losses: shape (S, draws, K), NaN for a candidate without a forecast.
        points: point forecast at `size`, shape (K,).
        zero_shot: loss of each candidate as it came, NaN where not measured, shape (K,).
    """

    candidates: tuple[str, ...]
    size: float
    sizes: Floats
    losses: Floats
    points: Floats
    zero_shot: Floats

    @classmethod
    def draw(cls, curves: Curves, size: float, draws: int = DRAWS, seed: int = 0) -> CurveSamples:
        """Sample the curves.

        Args:
            curves: what was measured.
            size: training examples at hand.
            draws: number of joint samples.
            seed: of the samples.

        Raises:
            InputError: if there is no candidate, nothing was measured after fine-tuning, or `size` is not above 0.
        """
        check(curves, size)
        measured = curves.sizes[(curves.sizes > 0) & np.isfinite(curves.losses).any(axis=0)]
        if not measured.size:
            raise InputError("nothing was measured after fine-tuning: give losses at one or more sizes above 0")
        start = -int(np.ceil(STEPS_A_DOUBLING * max(0.0, np.log2(size / measured[0]))))
        steps = np.arange(start, STEPS_A_DOUBLING * HORIZON + 1)
        sizes = size * 2.0 ** (steps / STEPS_A_DOUBLING)
        selector = GrowingSlopes(draws=draws, seed=seed)
        losses = np.minimum.accumulate(_forecasts(selector, curves, sizes), axis=0)
        here = -start
        rng = np.random.default_rng(seed + 1)
        floor, law = _floors(curves, sizes[here:], draws, seed)
        beyond = np.maximum(losses[here:], _below(floor, losses[here], rng))
        by_law = (rng.random(floor.shape) < selector.law_weight) & np.isfinite(law[0])
        losses[here:] = np.where(by_law, losses[here] * law, beyond)
        points = selector.forecast(curves, size).mean
        zero_shot = curves.at(0) if 0 in curves.sizes else np.full(len(curves.candidates), np.nan)
        return cls(curves.candidates, size, sizes, losses, points, zero_shot)

    def at(self, size: float) -> Floats:
        """Samples at one size of the grid, shape (draws, K)."""
        return np.asarray(self.losses[int(np.argmin(np.abs(np.log(self.sizes / size))))])

    @property
    def best(self) -> int:
        """Position of the candidate with the lowest point forecast."""
        return int(np.nanargmin(self.points))

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


def _forecasts(selector: GrowingSlopes, curves: Curves, sizes: Floats) -> Floats:
    """The samples of `selector.forecast` at every size, shape (S, draws, K), with its fits and hindcasts made once."""
    logs, x = LogCurves.of(curves), np.log2(sizes)
    means, parts = selector.points(logs, x), selector.parts(curves, float(sizes[-1]))
    ahead = np.maximum(x[:, None] - logs.last[0], 0)
    samples = [selector.sample(replace(parts, mean=mean, ahead=far)) for mean, far in zip(means.T, ahead, strict=True)]
    return np.exp(np.clip(np.stack(samples), -LARGEST_LOG, LARGEST_LOG))


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
