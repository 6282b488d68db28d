"""Rank by the number of parameters: the larger the better."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors.base import PointSelector


class ModelSize(PointSelector):
    """Forecast = -log(parameters): a score that ranks, not a loss (the ModelSize baseline of Lin et al. 2024).

    Raises:
        InputError: if the curves carry no `size` feature.

    >>> import pandas as pd
    >>> parameters = pd.DataFrame({"size": [250_000, 900_000]}, index=["a", "b"])
    >>> ModelSize().forecast(Curves(("a", "b"), [50], [[1.6], [1.7]], parameters), 800).ranking
    ('b', 'a')
    """

    name = "model_size"

    def point(self, curve: Curves, target_size: float) -> float:
        """Minus the log of the number of parameters."""
        if "size" not in curve.features:
            raise InputError("model_size needs the number of parameters of each candidate: add a column 'size'")
        size = float(curve.features["size"].iloc[0])
        return -float(np.log(size)) if size > 0 else np.nan
