"""The default selector with the kernel curve in front of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors.growing_slopes import GrowingSlopes, PointForecast
from lensllm.selectors.kernel_only import PREFIX, kernel_sizes
from lensllm.selectors.slopes import STEEPEST

HALF = 0.5
"""Of the pool: where the kernel curves of more than that do not fit the first rung, none is believed."""
SMALLEST = 8
"""Below, the kernel curve says more about its own stopping time than about the candidate (docs/kernel.md)."""


class GrowingSlopesKernel(GrowingSlopes):
    """The default, with the kernel curve at d = 8, 16, 32, ... taken for losses measured at D = d.

    They are the oldest points of a curve and weigh as little as such; how wrong they are is seen by the hindcasts that
    start from them and widens the forecast. A probe sees other examples than a test, so the curve is scaled to begin at
    the measured zero-shot loss where there is one. Where it and the first rung are further apart than 0.2 of
    log loss a doubling, either the model or its linearisation has yet to learn the form of the task, and the kernel
    curve is left out; where they are for most of the pool, it is left out for all. Needs no fine-tuned point.

    Raises:
        InputError: if the curves carry no feature `kernel_<d>` with d of 8 or more.

    >>> import pandas as pd
    >>> kernel = pd.DataFrame({"kernel_8": [2.1, 2.2], "kernel_16": [2.0, 2.0]}, index=["a", "b"])
    >>> curves = Curves(("a", "b"), [], np.empty((2, 0)), kernel)  # nothing is trained yet
    >>> forecast = GrowingSlopesKernel().forecast(curves, 800)
    >>> forecast.best, forecast.mean.round(1).tolist()
    ('b', [1.1, 1.0])
    """

    name = "growing_slopes_kernel"

    def point_forecast(self, curves: Curves, target_size: float, sizes: Sequence[float] | Floats = ()) -> PointForecast:
        """The default's of the longer curves."""
        return super().point_forecast(with_kernel_curve(curves), target_size, sizes)


def with_kernel_curve(curves: Curves) -> Curves:
    """The same curves with the kernel curve's losses below the smallest measured size.

    Raises:
        InputError: if there is none at d of 8 or more.
    """
    known = [d for d in kernel_sizes(curves) if d >= SMALLEST]
    if not known:
        raise InputError(
            f"growing_slopes_kernel needs the kernel curve of each candidate: add columns such as '{PREFIX}32'"
        )
    measured = np.isfinite(curves.losses).any(axis=0)
    first = min(curves.sizes[measured & (curves.sizes > 0)], default=np.inf)
    sizes = [d for d in known if d < first]
    losses = curves.features[[f"{PREFIX}{d}" for d in sizes]].to_numpy(float)
    if 0 in curves.sizes and "zero_shot_probe_loss" in curves.features:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = curves.at(0) / curves.features["zero_shot_probe_loss"].to_numpy(float)
        losses = losses * np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1.0)[:, None]
    if sizes and np.isfinite(first):
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.log(losses[:, -1] / curves.at(first)) / np.log2(first / sizes[-1])
        apart = abs(step) > STEEPEST
        known = np.isfinite(step)
        losses = np.where((apart | (apart.sum() > HALF * known.sum()))[:, None], np.nan, losses)
    at = np.concatenate([curves.sizes[measured], sizes])
    order = np.argsort(at)
    everything = np.column_stack([curves.losses[:, measured], losses])
    errors = np.column_stack([curves.standard_errors[:, measured], np.full(losses.shape, np.nan)])
    return replace(curves, sizes=at[order], losses=everything[:, order], standard_errors=errors[:, order])
