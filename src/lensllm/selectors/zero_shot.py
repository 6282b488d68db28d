"""Rank by the loss before any fine-tuning."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves
from lensllm.selectors.base import PointSelector


class ZeroShot(PointSelector):
    """Forecast = the loss at 0 examples; NaN where it was not measured.

    >>> curves = Curves(("small", "large"), [0, 50], [[2.2, 1.6], [2.4, 1.5]])
    >>> ZeroShot().forecast(curves, 1600).mean.tolist()
    [2.2, 2.4]
    """

    name = "zero_shot"

    def point(self, curve: Curves, target_size: float) -> float:
        """The zero-shot loss."""
        at_zero = curve.losses[0, curve.sizes == 0]
        return float(at_zero[0]) if at_zero.size else np.nan
