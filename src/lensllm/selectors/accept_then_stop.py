"""Accept-then-Stop (AtS): a straight line in log-log over the power phase alone."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors.base import PointSelector, fine_tuned
from lensllm.selectors.growth import FURTHEST


class AcceptThenStop(PointSelector):
    """Lin et al. 2024, Algorithm 1: going back from the largest size, accept points while a line fits them.

    The line log L = a + b log D through the last p points (p = k, k+1, ...) judges the point before them: once it lies
    more than `delta` residual standard deviations off the line, it belongs to the pre-power phase and the line through
    the last p points is extrapolated. As in the authors' code the first point serves only to be judged, never to be
    fitted, unless there are no more than `k` points.

    Args:
        k: number of points always accepted (the paper's k = 3; 3 to 5 in its ablation).
        delta: stopping threshold in residual standard deviations (the paper's delta = 5; 1 to 5 in its ablation).

    >>> curves = Curves(("a",), [50, 100, 200, 400, 800], [[1.60, 1.58, 1.40, 1.24, 1.10]])
    >>> AcceptThenStop().forecast(curves, 3200).mean.round(2).tolist()
    [0.86]
    """

    name = "accept_then_stop"

    def __init__(self, k: int = 3, delta: float = 5.0) -> None:
        if k < 2:
            raise InputError(f"k is {k}, expected at least 2 points to draw a line through")
        self.k = k
        self.delta = delta

    def point(self, curve: Curves, target_size: float) -> float:
        """The accepted line at `target_size`; the last loss if a single point was measured."""
        sizes, losses = fine_tuned(curve)
        if sizes.size < 2:
            return float(losses[-1]) if losses.size else np.nan
        x, y = np.log(sizes), np.log(losses)
        accepted = self._accepted(x, y)
        slope, intercept = np.polyfit(x[-accepted:], y[-accepted:], 1)
        line = intercept + slope * np.log(target_size)
        return float(np.exp(np.clip(line, y[-1] - FURTHEST, y[-1] + FURTHEST)))

    def first_rejected(self, x: Floats, y: Floats) -> int | None:
        """Position of the first point off the line, going back from the largest size; None if none is."""
        for p in range(self.k, x.size):
            line = np.polyfit(x[-p:], y[-p:], 1)
            spread = np.std(y[-p:] - np.polyval(line, x[-p:]))
            if abs(y[-p - 1] - np.polyval(line, x[-p - 1])) > self.delta * spread:
                return x.size - p - 1
        return None

    def _accepted(self, x: Floats, y: Floats) -> int:
        if x.size <= self.k:
            return x.size
        rejected = self.first_rejected(x, y)
        return x.size - 1 - (0 if rejected is None else rejected)
