"""Rank by the loss after fine-tuning on the largest affordable subset."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves
from lensllm.selectors.base import PointSelector, fine_tuned


class SubTuning(PointSelector):
    """Forecast = the last measured fine-tuned loss (the SubTuning baseline of Lin et al. 2024).

    >>> curves = Curves(("small", "large"), [50, 100, 200, 400], [[1.6, 1.5, 1.41, 1.33], [1.8, 1.65, 1.49, 1.35]])
    >>> SubTuning().forecast(curves, 1600).mean.tolist()
    [1.33, 1.35]
    """

    name = "sub_tuning"

    def point(self, curve: Curves, target_size: float) -> float:
        """The last loss."""
        _, losses = fine_tuned(curve)
        return float(losses[-1]) if losses.size else np.nan
