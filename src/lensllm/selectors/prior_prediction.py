"""What the networks fitted to the prior say of curves as they were measured, in log loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.prior.features import Features, features_of
from lensllm.prior.network import Prediction, in_units, predict
from lensllm.selectors.log_curves import LogCurves, pulled_in, tuned_sizes, without_spikes

ODD = 0.03
"""Of log loss, by which a reading has to lie off its neighbours to be a spike: two seeds differ by 0.03 at most."""
ALONE = 3
"""Candidates with the furthest odd readings, each of which is asked for alone; the rest of those with any together."""
ROUNDING = 1e-9
ADAPTERS = ("lora", "qlora")


@dataclass(frozen=True)
class PriorPrediction:
    """What is said of K candidates at S sizes beyond what was measured; 0 at sizes that were, and of unknown ones.

    Attributes:
        known: which candidates were measured, shape (K,).
        last: log loss each was last measured at, shape (K,).
        own: expected move of each beside the middle candidate's, shape (S, K).
        weight: of the P parts that a move can be of, shape (S, K, P).
        place: middle of each part beside `own`, shape (S, K, P).
        scale: of each part, a Student's t of 4 degrees, shape (S, K, P).
        common: expected move of all candidates, further for those that stopped earlier, shape (S, K).
        common_scale: of it, a Student's t of 4 degrees, shape (S, K).
        further: how much further each moves than the average candidate, as a factor, shape (S, K).
    """

    known: NDArray[np.bool_]
    last: Floats
    own: Floats
    weight: Floats
    place: Floats
    scale: Floats
    common: Floats
    common_scale: Floats
    further: Floats


def predict_pool(curves: Curves, sizes: Floats, kind: int) -> PriorPrediction:
    """What the networks say of curves of which two candidates or more were measured.

    Of each candidate they are asked as if the odd readings of others (`log_curves.pulled_in`) had gone with the pool,
    so that one odd reading moves nobody else; of those that have some, with their own as they are.

    Args:
        curves: of the pool.
        sizes: what is asked for, S of them.
        kind: position in `lensllm.prior.KIND_INPUTS`, -1 where it is not known.
    """
    logs = LogCurves.of(curves)
    known = np.asarray(np.isfinite(logs.y).any(axis=1))
    y = logs.y[known]
    off = _off(y)
    tame = _with_the_pool(logs.x, y, off > 0)
    seen = _seen(curves, logs, known, sizes, kind, tame)
    said = _said(seen)
    for odd in _odd_ones(off):
        raw = _seen(curves, logs, known, sizes, kind, np.where(odd[:, None], y, tame))
        seen, said = _of_each(odd, seen, said, raw, _said(raw))

    def of_all(values: Floats) -> Floats:
        whole = np.zeros((len(values), known.size, *values.shape[2:]))
        whole[:, known] = values
        return whole

    unit = seen.unit
    typical = np.where(unit.any(axis=1), unit.mean(axis=1), 1.0)[:, None]
    last = np.full(known.size, np.nan)
    last[known] = seen.last[0]
    own = said.mean
    return PriorPrediction(
        known,
        last,
        of_all(own * unit),
        of_all(said.weight),
        of_all((said.place - own[:, :, None]) * unit[:, :, None]),
        of_all(said.scale * unit[:, :, None]),
        of_all(said.common[:, None] * unit),
        of_all(said.common_scale[:, None] * unit),
        of_all(unit / typical),
    )


def _seen(curves: Curves, logs: LogCurves, known: NDArray[np.bool_], sizes: Floats, kind: int, y: Floats) -> Features:
    """The pool with these readings as it stands before each of the sizes, one row of `Features` a size."""
    tuned = tuned_sizes(curves)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = (curves.standard_errors / curves.losses)[known][:, tuned]
        zero_shot = np.log(curves.at(0))[known] if 0 in curves.sizes else np.full(len(y), np.nan)
    adapter = np.array([float(method in ADAPTERS) for method in curves.methods])[known]
    parameters = (
        curves.features["size"].to_numpy(float)[known] if "size" in curves.features else np.full(len(y), np.nan)
    )
    size = np.log2(np.where(parameters > 0, parameters, np.nan))
    pool = (logs.x, y, errors, np.where(np.isfinite(zero_shot), zero_shot, np.nan), size, adapter)
    x, y, errors, zero_shot, size, adapter = (np.broadcast_to(values, (len(sizes), *values.shape)) for values in pool)
    return features_of(x, y, errors, zero_shot, size, adapter, np.log2(sizes) - logs.x[-1], np.full(len(sizes), kind))


def _off(y: Floats) -> Floats:
    """How far off each odd reading lies, 0 for others, shape (K, S).

    Odd are those that do not fit the table of the pool (`log_curves.pulled_in`), and of the rest the spikes. Of a
    candidate all of whose readings are odd only the furthest is.
    """
    table = np.nan_to_num(np.abs(pulled_in(y) - y))
    table = np.where(table > ROUNDING, table, 0.0)
    rest = np.where(table > 0, np.nan, y)
    spikes = np.nan_to_num(np.abs(without_spikes(rest) - rest))
    off = np.where(spikes > ODD, spikes, table)
    none_good = ((off > 0) | ~np.isfinite(y)).all(axis=1)
    off[none_good] = np.where(off == off.max(axis=1, keepdims=True), off, 0.0)[none_good]
    return off


def _odd_ones(off: Floats) -> list[NDArray[np.bool_]]:
    """Candidates with odd readings, those with the furthest ones alone, shapes (K,)."""
    furthest = off.max(axis=1)
    order = np.argsort(-furthest, kind="stable")[: int((furthest > 0).sum())]
    groups = [*order[:ALONE, None], order[ALONE:]]
    return [np.isin(np.arange(len(off)), rows) for rows in groups if rows.size]


def _with_the_pool(x: Floats, y: Floats, odd: NDArray[np.bool_]) -> Floats:
    """y with odd readings put where the pool went from the nearest others of the same candidate, shape (K, S)."""
    steps = np.where(odd, np.nan, y)[:, 1:] - np.where(odd, np.nan, y)[:, :-1]
    taken = np.isfinite(steps).any(axis=0)
    path = np.zeros(x.size)
    path[1:][taken] = np.nanmedian(steps[:, taken], axis=0)
    path = np.cumsum(path)
    tame = y.copy()
    for row in np.flatnonzero(odd.any(axis=1)):
        good = np.isfinite(y[row]) & ~odd[row]
        if good.any():
            tame[row, odd[row]] = np.interp(x[odd[row]], x[good], (y[row] - path)[good]) + path[odd[row]]
    return tame


def _of_each(
    odd: NDArray[np.bool_], seen: Features, said: Prediction, raw: Features, as_read: Prediction
) -> tuple[Features, Prediction]:
    """Of these candidates what is said with their own readings as they are, of the others what was said before."""
    parts = odd[:, None]
    return (
        Features(seen.rows, np.where(odd, raw.unit, seen.unit), np.where(odd, raw.last, seen.last)),
        Prediction(
            np.where(parts, as_read.weight, said.weight),
            np.where(parts, as_read.place, said.place),
            np.where(parts, as_read.scale, said.scale),
            said.common,
            said.common_scale,
        ),
    )


def _said(seen: Features) -> Prediction:
    """What the networks say, own moves beside the middle candidate's in log loss, which no single one sets."""
    said = predict(seen.rows, seen.unit)
    middle = np.median(said.mean * seen.unit, axis=1, keepdims=True)
    return replace(said, place=said.place - in_units(middle, seen.unit)[:, :, None])
