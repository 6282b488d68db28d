"""Rank by the heavy tails of the weight spectra; looks at no data."""

from __future__ import annotations

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors.base import PointSelector


class NlpMetrics(PointSelector):
    """Forecast = mean exponent of the weight spectra: a score that ranks, not a loss (Yang et al. 2023, 2202.02842).

    Args:
        metric: `pl_alpha` (power law; the one that LensLLM compares with) or `e_tpl_lambda` (its exponential cut-off).

    Raises:
        InputError: if the curves carry no such feature.

    >>> import pandas as pd
    >>> tails = pd.DataFrame({"pl_alpha": [3.2, 2.8]}, index=["a", "b"])
    >>> NlpMetrics().forecast(Curves(("a", "b"), [50], [[1.6], [1.7]], tails), 800).ranking
    ('b', 'a')
    """

    name = "nlp_metrics"

    def __init__(self, metric: str = "pl_alpha") -> None:
        self.metric = metric

    def point(self, curve: Curves, target_size: float) -> float:
        """The exponent; smaller is taken for better."""
        if self.metric not in curve.features:
            raise InputError(f"nlp_metrics needs the weight spectra of each candidate: add a column {self.metric!r}")
        return float(curve.features[self.metric].iloc[0])
