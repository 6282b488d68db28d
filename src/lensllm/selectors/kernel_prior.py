"""The default selector with prior information on every candidate's slope from its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lensllm.curves import Curves, Floats
from lensllm.errors import InputError
from lensllm.selectors.growth import LogCurves, Slopes
from lensllm.selectors.kernel_only import PREFIX, kernel_sizes
from lensllm.selectors.lensllm import LensLLM, Parts

PRIOR_SLOPES = 1.0
RIDGE = 0.3
LEAST_SLOPE = 0.005


class KernelPrior(LensLLM):
    """The default forecast, its slopes drawn towards what the kernel lets expect.

    A candidate's slope relative to the pool's, s_i / mean(s) - 1, is expected to be w^T z_i with z_i the features
    standardised over the pool: log of the kernel's mean squared gradient norm (`trace`), log of its effective rank, the
    fall of the kernel curve (log loss before training minus log loss at the largest d), and log of the size. The
    expectation counts as much as one measured slope; what the default forecasts counts as many as it has measured:

        s_i = mean(s) (1 + (m_i excess_i + w^T z_i) / (m_i + 1))

    so that it decides alone after one rung and fades with more. The mean over the pool stays the default's. On the
    tasks at hand the relation learned on one made the forecast of the other worse (docs/kernel.md), so nothing uses it.

    Args:
        relation: w, one number a feature, learned over candidates and tasks (`learn`).
        **options: of `LensLLM`.

    Raises:
        InputError: if the curves lack a feature.
    """

    name = "kernel_prior"

    def __init__(self, relation: ArrayLike, **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.relation = np.asarray(relation, dtype=float)

    def parts(self, curves: Curves, target_size: float) -> Parts:
        """The default's parts with the mean moved."""
        parts = super().parts(curves, target_size)
        logs = LogCurves.of(curves)
        excess, pooled = relative_slopes(logs.last[1] - parts.mean, parts.ahead)
        measured = np.isfinite(Slopes.of(logs).value).sum(axis=1)
        expected = kernel_features(curves) @ self.relation
        expected -= expected[np.isfinite(excess)].mean() if np.isfinite(excess).any() else 0.0
        moved = (measured * excess + PRIOR_SLOPES * expected) / (measured + PRIOR_SLOPES)
        return replace(parts, mean=parts.mean - parts.ahead * pooled * (moved - excess))


def relative_slopes(fall: Floats, ahead: Floats) -> tuple[Floats, float]:
    """Slopes relative to the pool's mean, minus 1, shape (K,), and that mean, per doubling.

    Args:
        fall: of the log loss, shape (K,), NaN where not known.
        ahead: doublings over which it falls, shape (K,).
    """
    slope = np.where(ahead > 0, fall / np.where(ahead > 0, ahead, 1), np.nan)
    known = np.isfinite(slope)
    pooled = max(float(slope[known].mean()), LEAST_SLOPE) if known.any() else LEAST_SLOPE
    centred = slope - (slope[known].mean() if known.any() else 0.0)
    return np.where(ahead > 0, centred / pooled, np.where(np.isfinite(fall), 0.0, np.nan)), pooled


def kernel_features(curves: Curves) -> Floats:
    """The features standardised over the pool, shape (K, 4); 0 where a candidate has none.

    Raises:
        InputError: if a column is missing.
    """
    table, sizes = curves.features, kernel_sizes(curves)
    needed = ("trace", "effective_rank", "zero_shot", "size")
    missing = [name for name in needed if name not in table] + ([] if sizes else [f"{PREFIX}32"])
    if missing:
        raise InputError(f"kernel_prior needs the kernel of each candidate: add a column {missing[0]!r}")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {name: np.log(table[name].to_numpy(float)) for name in needed}
        fall = logs["zero_shot"] - np.log(table[f"{PREFIX}{sizes[-1]}"].to_numpy(float))
    return np.stack([_standardised(v) for v in (logs["trace"], logs["effective_rank"], fall, logs["size"])], axis=1)


def _standardised(values: Floats) -> Floats:
    known = np.isfinite(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0:
        return np.zeros(len(values))
    return np.where(known, (values - values[known].mean()) / values[known].std(), 0.0)


def learn(tasks: Sequence[Curves], target_size: float, rungs: Sequence[int] = (1, 2, 3, 4)) -> Floats:
    """The relation w that tasks measured up to `target_size` show, by ridge regression, shape (4,).

    Every candidate of every task, seen up to each of its first rungs, is a row: its slope from there to the target,
    relative to the pool's, against its features; the ridge is 0.3 times the number of rows.

    Raises:
        InputError: if a task was not measured at the target size or lacks a feature.
    """
    rows, answers = [], []
    for curves in tasks:
        truth = np.log(curves.at(target_size))
        features = kernel_features(curves)
        tuned = np.flatnonzero(curves.sizes > 0)
        for count in rungs:
            size = curves.sizes[tuned[count - 1]]
            ahead = np.full(len(truth), np.log2(target_size / size))
            excess, _ = relative_slopes(np.log(curves.at(size)) - truth, ahead)
            known = np.isfinite(excess)
            rows.append(features[known] - features[known].mean(axis=0))
            answers.append(excess[known])
    x, y = np.concatenate(rows), np.concatenate(answers)
    return np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
