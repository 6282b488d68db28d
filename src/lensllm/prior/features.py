"""What the network sees of a pool: numbers that do not depend on the unit of the losses, one row a candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensllm.arrays import Floats, known_median
from lensllm.prior.kinds import KIND_INPUTS

SLOTS = 10
"""Last measured sizes that are seen one by one."""
CHANNELS = 6
SCALARS = 19
COUNT = SLOTS * CHANNELS + SCALARS + len(KIND_INPUTS)
"""Numbers a candidate."""
USUAL_STEP = 0.05
"""Fall a doubling where only one size was measured: about the mean of published curves."""
LEAST_STEP = 0.003
"""Falls are counted in no less than this, which is what a reading of a text errs."""
AHEAD = (0.1, 10.0)
"""Doublings ahead that the prior has; nearer and further ones are seen as these."""
GROWTH = 0.8
"""Unit of what is said n doublings ahead: the pool's step times n^0.8."""


@dataclass(frozen=True)
class Features:
    """B pools as the network sees them.

    Attributes:
        rows: numbers of each candidate, shape (B, K, COUNT).
        unit: of what is said of each candidate's log loss at the target, shape (B, K).
        last: log loss at each candidate's last measured size, shape (B, K).
    """

    rows: Floats
    unit: Floats
    last: Floats


def features_of(
    x: Floats,
    y: Floats,
    errors: Floats,
    zero_shot: Floats,
    size: Floats,
    adapter: Floats,
    ahead: Floats,
    kind: NDArray[np.int_],
) -> Features:
    """What is seen of pools whose candidates have each one measured point or more.

    Args:
        x: log2 of the sizes, ascending, shape (B, S).
        y: log losses, shape (B, K, S), NaN where not measured.
        errors: standard errors of y, NaN where unknown, same shape.
        zero_shot: log losses of the models as they came, NaN where unknown, shape (B, K).
        size: log2 of each model's parameters, NaN where unknown, shape (B, K).
        adapter: 1 for candidates tuned by an adapter, 0 for others, NaN where unknown, shape (B, K).
        ahead: doublings from the last size to the target, shape (B,).
        kind: position in `KIND_INPUTS`, -1 where it is not known, shape (B,).
    """
    b, k, s = y.shape
    measured = np.isfinite(y)
    place = np.where(measured, np.arange(s), -1).max(axis=2)
    last = np.take_along_axis(y, place[:, :, None], axis=2)[:, :, 0]
    behind = x[:, -1:] - np.take_along_axis(x, place, axis=1)
    n = ahead[:, None] + behind
    step = _step(x, y)
    columns = known_median(y, axis=1)[:, 0]
    spread = known_median(np.abs(y - columns[:, None]), axis=1)[:, 0]
    of_pool = columns[:, -1:]

    def slots(values: Floats) -> Floats:
        kept = values[:, :, -SLOTS:]
        return np.pad(kept, ((0, 0), (0, 0), (SLOTS - kept.shape[2], 0)))

    scale = step[:, None, None]
    whole = np.ones((1, k, 1))
    channels = [
        np.where(measured, np.arcsinh((y - last[:, :, None]) / scale), 0.0),
        np.where(measured, np.arcsinh((y - columns[:, None]) / scale), 0.0),
        measured * 1.0,
        np.arcsinh((columns - of_pool) / step[:, None])[:, None] * whole,
        np.arcsinh(spread / step[:, None])[:, None] * whole,
        ((x - x[:, -1:]) / 4.0)[:, None] * whole,
    ]
    known = np.isfinite(errors) & measured & (errors > 0)
    error = np.where(known, errors, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    first = np.isfinite(zero_shot)
    middle = np.median(last, axis=1, keepdims=True)
    ordered = np.sort(last, axis=1)
    rival = np.where(last == ordered[:, :1], ordered[:, 1:2], ordered[:, :1]) if k > 1 else ordered
    order = _places(last, ordered) / max(k - 1, 1)
    each = np.ones((b, k))
    zero = np.where(first, zero_shot, 0.0)
    zero_middle = known_median(zero_shot, axis=1)
    scalars = [
        np.log(step)[:, None] * each / 2,
        np.log(np.clip(n, *AHEAD)) / 2,
        np.log(np.clip(ahead, *AHEAD))[:, None] * each / 2,
        behind / 4.0,
        np.log(k) * each / 2,
        np.minimum(measured.sum(axis=2), 12) / 4.0,
        np.arcsinh((last - rival) / scale[:, :, 0]),
        np.arcsinh((last - middle) / scale[:, :, 0]),
        np.clip(last - middle, -2, 2) * 4.0,
        order,
        first * 1.0,
        np.where(first, np.clip(zero - last, -3, 5), 0.0),
        np.where(first, np.clip(zero - zero_middle, -3, 3), 0.0),
        (error > 0) * 1.0,
        np.where(error > 0, np.log(np.maximum(error, 1e-6) / scale[:, :, 0]), 0.0) / 2,
        *_beside_others(size, 2.0),
        *_beside_others(adapter, 0.5),
    ]
    one_hot = (kind[:, None] == np.arange(len(KIND_INPUTS))) * 1.0
    rows = np.concatenate(
        [*map(slots, channels), np.stack(scalars, axis=2), np.repeat(one_hot[:, None], k, axis=1)], axis=2
    )
    return Features(rows, step[:, None] * np.maximum(n, 0.0) ** GROWTH, last)


def _beside_others(values: Floats, unit: float) -> tuple[Floats, Floats]:
    """Whether known, and by how many units above the mean of those that are; 0 where not, both (B, K)."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return known * 1.0, np.where(known, np.clip((filled - mean) / unit, -4, 4), 0.0)


def _step(x: Floats, y: Floats) -> Floats:
    """Typical fall or rise a doubling of the last four steps of all candidates, shape (B,)."""
    if y.shape[2] < 2:
        return np.full(len(y), USUAL_STEP)
    falls = np.abs(np.diff(y, axis=2) / np.diff(x)[:, None])[:, :, -4:].reshape(len(y), -1)
    some = np.isfinite(falls).any(axis=1)
    typical = np.full(len(y), USUAL_STEP)
    typical[some] = np.nanmedian(falls[some], axis=1)
    return np.maximum(typical, LEAST_STEP)


def _places(last: Floats, ordered: Floats) -> Floats:
    """How many of a pool are below each candidate, those that are equal counted half, shape (B, K)."""
    each = zip(last, ordered, strict=True)
    return np.array([(np.searchsorted(row, of) + np.searchsorted(row, of, "right") - 1) / 2 for of, row in each])
