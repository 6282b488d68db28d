"""Rank by the loss before any fine-tuning."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves
from lensllm.selectors.base import PointSelector


class ZeroShot(PointSelector):
    """Forecast = the loss at 0 examples; NaN where it was not measured."""

    name = "zero_shot"

    def point(self, curve: Curves, target_size: float) -> float:
        """The zero-shot loss."""
        at_zero = curve.losses[0, curve.sizes == 0]
        return float(at_zero[0]) if at_zero.size else np.nan
