"""Rank by how well frozen features explain the labels."""

from __future__ import annotations

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors.base import PointSelector


class LogMe(PointSelector):
    """Forecast = -LogME: a score that ranks, not a loss (You et al. 2021, arXiv 2102.11005; `probes.log_me`).

    For tasks whose completion is one of a few labels; NaN elsewhere.

    Raises:
        InputError: if the curves carry no `log_me` feature.

    >>> import pandas as pd
    >>> evidence = pd.DataFrame({"log_me": [-0.7, -0.4]}, index=["a", "b"])
    >>> LogMe().forecast(Curves(("a", "b"), [50], [[1.6], [1.7]], evidence), 800).best
    'b'
    """

    name = "log_me"

    def point(self, curve: Curves, target_size: float) -> float:
        """Minus the log evidence of the labels."""
        if "log_me" not in curve.features:
            raise InputError("log_me needs the evidence of each candidate: add a column 'log_me'")
        return -float(curve.features["log_me"].iloc[0])
