"""The prior: pools of curves as people might measure them, each assumption a short part with its reason.

Everything is in x = log2(examples) and y = log(loss). B pools are drawn at once, all with K candidates and S sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensllm.arrays import Floats
from lensllm.prior.kinds import KINDS, Kind

BEYOND = 8
"""Steps from the last measured size to the target in which slopes change."""
FURTHEST = 10.0
"""Doublings ahead of what was measured, at most."""
STEEPEST = 0.45
"""Fall of the log loss a doubling, at most: D^-0.65."""


@dataclass(frozen=True)
class Pools:
    """B pools of K candidates measured at up to S sizes, and what became of them.

    Attributes:
        kind: position in the kinds, shape (B,).
        x: log2 of the sizes, shape (B, S).
        y: log of the losses as they were measured, shape (B, K, S); NaN where not measured.
        errors: standard errors of y, shape (B, K, S); NaN where unknown.
        zero_shot: log loss of each model as it came, shape (B, K); NaN where unknown.
        size: log2 of each model's parameters, shape (B, K); NaN where unknown.
        adapter: 1 for candidates tuned by an adapter, 0 for others, shape (B, K); NaN where unknown.
        ahead: doublings from the last size to the target, shape (B,).
        truth: y measured at the target, shape (B, K).

    Example:
        >>> pools = draw_pools(np.random.default_rng(0), 1, 2, 3)
        >>> pools.x.round(1).tolist(), pools.ahead.round(1).tolist()
        ([[11.2, 12.2, 13.2]], [4.9])
    """

    kind: NDArray[np.int_]
    x: Floats
    y: Floats
    errors: Floats
    zero_shot: Floats
    size: Floats
    adapter: Floats
    ahead: Floats
    truth: Floats


class _Grid(NamedTuple):
    """Sizes measured, then those to the target: x, shape (B, S + BEYOND), steps, middles and how many were measured."""

    x: Floats
    step: Floats
    middle: Floats
    seen: int


class _Draw:
    """Random numbers of B pools and K candidates whose ranges go by the kind of each pool."""

    def __init__(self, rng: np.random.Generator, kinds: list[Kind], candidates: int) -> None:
        self.rng, self.kinds, self.b, self.k = rng, kinds, len(kinds), candidates

    def of(self, name: str) -> Floats:
        """A setting of each pool's kind, shape (B, 1, 1)."""
        return np.array([getattr(kind, name) for kind in self.kinds], dtype=float)[:, None, None]

    def each(self, name: str) -> Floats:
        """A range (low, high) of each pool's kind, drawn evenly in the logarithm, shape (B, 1, 1)."""
        low, high = np.array([getattr(kind, name) for kind in self.kinds]).T[:, :, None, None]
        return np.asarray(low * (high / low) ** self.rng.random((self.b, 1, 1)))

    def between(self, low: float, high: float, own: bool = False) -> Floats:
        """Evenly between two numbers, one a pool or (own) a candidate."""
        return np.asarray(low + (high - low) * self.rng.random((self.b, self.k if own else 1, 1)))

    def normal(self, own: bool = True, steps: int = 1) -> Floats:
        """Standard normals, shape (B, K or 1, steps)."""
        return self.rng.standard_normal((self.b, self.k if own else 1, steps))

    def heavy(self) -> Floats:
        """Student's t of 4 degrees with variance 1, one a candidate."""
        return self.rng.standard_t(4, (self.b, self.k, 1)) / np.sqrt(2)

    def happens(self, name: str) -> NDArray[np.bool_]:
        """Whether something happens to each pool that its kind gives a chance, shape (B, 1, 1)."""
        return np.asarray(self.rng.random((self.b, 1, 1)) < self.of(name))


def draw_pools(
    rng: np.random.Generator, count: int, candidates: int, sizes: int, kinds: tuple[Kind, ...] = KINDS
) -> Pools:
    """Draw pools from the prior.

    Args:
        rng: of all random numbers.
        count: B, how many pools.
        candidates: K in each, 2 or more.
        sizes: S measured in each.
        kinds: of pools.

    Example:
        >>> pools = draw_pools(np.random.default_rng(0), 3, 4, 5)
        >>> pools.y.shape, pools.truth.shape, bool((pools.ahead > 0).all())
        ((3, 4, 5), (3, 4), True)
    """
    share = np.array([kind.share for kind in kinds])
    kind = rng.choice(len(kinds), count, p=share / share.sum())
    draw = _Draw(rng, [kinds[k] for k in kind], candidates)
    grid = _ladder(draw, sizes)
    size = draw.normal()
    family = _families(draw)
    slopes = _shared_slopes(draw, grid, family) * _breaks(draw, grid)
    slopes = slopes * _own_slopes(draw, grid, size) * _dull(draw)
    path = -np.cumsum(np.clip(slopes, -STEEPEST, STEEPEST) * grid.step, axis=2)
    path = np.concatenate([np.zeros((count, candidates, 1)), path], axis=2)
    path = _converged(draw, grid, path + _levels(draw, size, family))
    path = path + _form_learning(draw, grid) + _over_fitting(draw, grid)
    read, errors = _readings(draw, grid, path)
    y, truth = read[:, :, :sizes], read[:, :, -1]
    zero_shot = _zero_shot(draw, path, slopes)
    y = _missing(draw, _stopped_early(draw, y))
    parameters, adapter = _what_is_known(draw, size, family)
    ahead = grid.x[:, -1] - grid.x[:, sizes - 1]
    return Pools(kind, grid.x[:, :sizes], y, errors[:, :, :sizes], zero_shot, parameters, adapter, ahead, truth)


def _ladder(draw: _Draw, sizes: int) -> _Grid:
    """Doublings of the examples; one in seven ladders is uneven, as people's are. The target is 0.3 to 10 further."""
    rng, b = draw.rng, draw.b
    steps = np.ones((b, sizes - 1))
    uneven = rng.random(b) < 0.15
    steps[uneven] = np.exp(rng.uniform(np.log(0.3), np.log(3.0), (int(uneven.sum()), sizes - 1)))
    ahead = np.clip(rng.geometric(0.22, b).astype(float), 1.0, FURTHEST)
    odd = rng.random(b) < 0.3
    ahead[odd] = rng.uniform(0.3, 6.0, int(odd.sum()))
    x = np.concatenate([np.zeros((b, 1)), np.cumsum(steps, axis=1)], axis=1) + rng.uniform(3.0, 12.0, (b, 1))
    beyond = x[:, -1:] + ahead[:, None] * np.arange(1, BEYOND + 1) / BEYOND
    x = np.concatenate([x, beyond], axis=1)
    return _Grid(x, np.diff(x)[:, None], ((x[:, 1:] + x[:, :-1]) / 2)[:, None], sizes)


def _where(draw: _Draw, grid: _Grid, own: bool = False, before: float = 3.0) -> Floats:
    """A place on the ladder at which something happens: from some doublings before the first size to the target."""
    first, last = grid.x[:, :1, None] - before, grid.x[:, -1:, None]
    return np.asarray(first + (last - first) * draw.between(0.0, 1.0, own))


def _shared_slopes(draw: _Draw, grid: _Grid, family: Floats) -> Floats:
    """How fast the pool falls, shape (B, K, steps): by a law with a floor, or by slopes that drift.

    The law is L = E + A / (1 + (D / D0)^b), the paper's; its place D0 and its floor are alike within a pool.
    The other half has slopes that grow or shrink by some part a doubling and wander: curves obey no law.
    """
    slope = draw.each("slope") * np.ones((1, draw.k, grid.step.shape[2]))
    from_first = grid.middle - grid.x[:, :1, None]
    rate = draw.of("growth") + draw.of("growth_sd") * draw.normal(own=False)
    wander = draw.between(0.01, 0.2) * draw.normal(own=False, steps=grid.step.shape[2]) * np.sqrt(grid.step)
    ends = draw.between(0.1, 0.4)
    lasting = np.tanh(from_first * ends) / ends
    drifting = slope * np.exp(np.clip(rate * lasting + np.cumsum(wander, axis=2), -3.0, 1.5))

    power = draw.each("power") * np.exp(draw.between(0.0, 0.3) * draw.normal())
    place = _where(draw, grid, before=4.0) + draw.between(0.0, 1.5) * draw.normal() - family
    floor = np.clip(draw.each("floor") * np.exp(draw.between(0.0, 0.4) * draw.normal()), 0.0, 0.97)
    x = grid.x[:, None]
    law = np.log(floor + (1 - floor) / (1 + 2.0 ** np.clip(power * (x - place), -60, 60)))
    lawful = -np.diff(law, axis=2) / grid.step
    return np.where(draw.happens("lawful"), lawful, drifting)


def _breaks(draw: _Draw, grid: _Grid) -> Floats:
    """Falls that become steeper (more data begin to matter) or flatten (what can be learned is learned), for the pool.

    A factor of the slopes that goes from 1 to another within about a doubling or three, at a place of the pool that
    candidates share with some jitter. A sudden steepening beyond what was seen is rare and always possible.
    """
    factor = np.ones((draw.b, draw.k, grid.step.shape[2]))
    for name, low, high in (("steepening", 1.2, 4.0), ("flattening", 0.05, 0.7)):
        place = _where(draw, grid) + draw.between(0.0, 2.5) * draw.normal()
        gone = 1 / (1 + np.exp(-np.clip((grid.middle - place) / draw.between(0.3, 1.5), -30, 30)))
        to = low * (high / low) ** draw.between(0.0, 1.0)
        factor = factor * np.where(draw.happens(name), 1 + (to - 1) * gone, 1.0)
    return factor


def _own_slopes(draw: _Draw, grid: _Grid, size: Floats) -> Floats:
    """What a candidate's slope is beside the pool's: a factor that lasts, one that wanders, one that goes with size."""
    lasting = draw.each("own_slope") * draw.heavy()
    wander = draw.each("own_wander") * np.cumsum(draw.normal(steps=grid.step.shape[2]) * np.sqrt(grid.step), axis=2)
    return np.exp(np.clip(lasting + wander + draw.between(-0.25, 0.25) * size, -2.5, 1.5))


def _dull(draw: _Draw) -> Floats:
    """Candidates that hardly learn: their slope is a small part of the pool's, or none."""
    dull = draw.rng.random((draw.b, draw.k, 1)) < draw.of("dull") * draw.between(0.0, 1.0)
    return np.where(dull, draw.between(0.0, 0.3, own=True), 1.0)


def _families(draw: _Draw) -> Floats:
    """Two families in one pool, such as LoRA and full tuning: one starts lower and flattens earlier, shape (B, K, 1).

    0 for one of them, up to 3 doublings for the other: by so much earlier its law begins.
    """
    second = draw.rng.random((draw.b, draw.k, 1)) < 0.5
    return np.where(draw.happens("families") & second, draw.between(0.3, 3.0), 0.0)


def _levels(draw: _Draw, size: Floats, family: Floats) -> Floats:
    """How far apart candidates are at the first size, shape (B, K, 1): larger models lower, mostly."""
    by_size = draw.between(0.0, 0.9)
    apart = draw.each("spread") * (np.sqrt(1 - by_size**2) * draw.heavy() - by_size * size)
    return apart - family * draw.between(0.0, 0.08)


def _converged(draw: _Draw, grid: _Grid, path: Floats) -> Floats:
    """Candidates that come nearer to each other, as fine-tuned models do: more data make up for a worse start.

    The distance from the pool's mean falls by some part a doubling while each candidate's own slope adds to it. Some
    candidates fall towards the pool faster than others. In other pools distances grow a little or stay.
    """
    middle = path.mean(axis=1, keepdims=True)
    apart = path - middle
    rate = draw.each("convergence") * np.exp(draw.between(0.0, 0.6) * draw.normal())
    rate = np.where(draw.happens("converging"), rate, draw.between(-0.04, 0.02))
    kept = np.exp(-rate * grid.step)
    own = np.diff(apart, axis=2)
    at = apart[:, :, :1]
    columns = [at]
    for step in range(own.shape[2]):
        at = at * kept[:, :, step : step + 1] + own[:, :, step : step + 1]
        columns.append(at)
    return middle + np.concatenate(columns, axis=2)


def _form_learning(draw: _Draw, grid: _Grid) -> Floats:
    """Candidates that have yet to learn the form of the task, its labels say: far above until then, then near the pool.

    Added to the loss, not to its logarithm: L (1 + h), h falling from up to 10 to nothing within a doubling or two.
    Late learners end a little worse.
    """
    learns = draw.happens("form_learning") & (draw.rng.random((draw.b, draw.k, 1)) < draw.between(0.1, 0.9))
    middle = grid.x[:, :1, None] + draw.between(-2.0, 5.0) + draw.between(0.2, 2.0) * draw.normal()
    height = 10.0 ** draw.between(-1.0, 1.0, own=True)
    above = height / (1 + np.exp(np.clip((grid.x[:, None] - middle) / draw.between(0.15, 0.7), -30, 30)))
    late = draw.between(0.0, 0.03) * np.maximum(middle - grid.x[:, :1, None], 0.0)
    return np.where(learns, np.log1p(above) + late, 0.0)


def _over_fitting(draw: _Draw, grid: _Grid) -> Floats:
    """Losses that rise from some size on: too many passes, too high a rate."""
    some = draw.happens("over_fitting") & (draw.rng.random((draw.b, draw.k, 1)) < 0.3)
    beyond = np.maximum(grid.x[:, None] - _where(draw, grid, own=True), 0.0)
    return np.where(some, draw.between(0.0, 0.1, own=True) * beyond, 0.0)


def _readings(draw: _Draw, grid: _Grid, path: Floats) -> tuple[Floats, Floats]:
    """What is measured, and its standard error where that is known: subset, order and test examples differ.

    The noise shrinks slowly with more examples; a size moves all candidates together, as they see the same subset;
    some candidates are noisier than others, and one reading in two hundred is far off.
    A standard error over test examples is larger than what a reading errs beside others on the same examples.
    """
    rng = draw.rng
    grown = 2.0 ** (-draw.between(0.0, 0.25) * (grid.x - grid.x[:, :1])[:, None])
    sd = draw.each("noise") * np.exp(draw.between(0.0, 0.6) * draw.normal()) * np.maximum(grown, 0.2)
    read = path + sd * draw.normal(steps=path.shape[2])
    read = read + draw.each("noise") * draw.between(0.0, 1.0) * draw.normal(own=False, steps=path.shape[2])
    odd: NDArray[np.bool_] = np.asarray(draw.happens("odd_readings") & (rng.random(path.shape) < 0.03))
    odd[:, :, -1] = False
    read = read + np.where(odd, 10.0 ** draw.between(-2.0, 0.0) * rng.standard_t(3, path.shape), 0.0)
    known = rng.random((draw.b, 1, 1)) < 0.5
    return read, np.where(known, sd * np.exp(draw.between(-0.7, 2.3)), np.nan) * np.ones(path.shape)


def _zero_shot(draw: _Draw, path: Floats, slopes: Floats) -> Floats:
    """The models as they came, measured in six of ten pools: above the first size, in about the same order."""
    first = path[:, :, :1]
    above = draw.between(0.5, 6.0) * np.abs(slopes[:, :, :1]) + draw.between(0.0, 0.4) * np.abs(draw.heavy())
    value = first + above + draw.between(0.0, 0.2) * draw.normal()
    return np.where(draw.rng.random((draw.b, 1)) < 0.6, value[:, :, 0], np.nan)


def _what_is_known(draw: _Draw, size: Floats, family: Floats) -> tuple[Floats, Floats]:
    """Parameters and methods, each in half of the pools; in some a size is only nearly what counts."""
    rng, shape = draw.rng, (draw.b, draw.k)
    counted = size[:, :, 0] + draw.between(0.0, 0.7)[:, :, 0] * rng.standard_normal(shape)
    parameters = 27 + draw.between(0.3, 2.0)[:, :, 0] * counted
    known, named = rng.random((2, draw.b, 1)) < 0.5
    return np.where(known, parameters, np.nan), np.where(named, (family[:, :, 0] > 0) * 1.0, np.nan)


def _stopped_early(draw: _Draw, y: Floats) -> Floats:
    """In one pool of three the worse candidates were stopped, a part of them at each size, as a search does."""
    b, k, s = y.shape
    if s < 2:
        return y
    stopped = y.copy()
    searched: NDArray[np.bool_] = np.asarray(draw.rng.random(b) < 0.33)
    left = np.ones((b, k), dtype=bool)
    for column in range(1, s):
        keep = np.maximum(np.ceil(left.sum(axis=1) * draw.rng.uniform(0.4, 1.0, b)), 2)
        place = np.where(left, y[:, :, column - 1], np.inf).argsort(axis=1).argsort(axis=1)
        left &= (place < keep[:, None]) | ~searched[:, None]
        stopped[:, :, column] = np.where(left, y[:, :, column], np.nan)
    return stopped


def _missing(draw: _Draw, y: Floats) -> Floats:
    """In one pool of ten some runs failed or were never made; each candidate keeps one reading or more."""
    lost = (draw.rng.random((draw.b, 1, 1)) < 0.1) & (draw.rng.random(y.shape) < 0.15)
    kept = np.where(lost, np.nan, y)
    return np.where(np.isfinite(kept).any(axis=2, keepdims=True), kept, y)
