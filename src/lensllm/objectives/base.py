"""What every objective is: a number read off a run, with its standard error and its unit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from lensllm.arrays import Floats
from lensllm.tuning.run import Run


class Objective(ABC):
    """A quantity that candidates are ranked by.

    Attributes:
        name: how it is called in tables.
        unit: what it is measured in, in words.
        greater_is_better: whether a larger value is the better one.
        floor: below which there is no value; of a score what a guess has.
        ceiling: above which there is none; of a loss what a uniform guess has, above which nothing is forecast.
            Infinite if there is no such value.

    >>> class TokenLoss(Objective):
    ...     name, unit = "token loss", "nats per token of completion"
    ...     def read(self, run):
    ...         return run.nats_per_token, float("nan")
    ...     def format(self, value):
    ...         return f"{value:.2f} nats/token"
    >>> TokenLoss().format(TokenLoss().read(Run("gpt2", 50, "done", nats_per_token=3.14159))[0])
    '3.14 nats/token'
    """

    name: str
    unit: str
    greater_is_better: bool = False
    floor: float = 0.0
    ceiling: float = math.inf

    @abstractmethod
    def read(self, run: Run) -> tuple[float, float]:
        """Its value in a run and the value's standard error over the test examples; NaN unless the run is done."""

    def to_scale(self, values: Floats) -> Floats:
        """Values on the scale that errors and gains are alike on: the logarithm, unless said."""
        return np.log(values)

    def from_scale(self, values: Floats) -> Floats:
        """Values from that scale."""
        return np.exp(values)

    def to_loss(self, values: Floats, errors: Floats) -> tuple[Floats, Floats]:
        """Values and their standard errors as numbers above 0 of which less is better, what selectors forecast."""
        return np.asarray(values, dtype=float), np.asarray(errors, dtype=float)

    def from_loss(self, losses: Floats) -> Floats:
        """Values from those numbers."""
        return np.asarray(losses, dtype=float)

    def regret(self, chosen: Floats, best: Floats) -> Floats:
        """How far numbers that selectors forecast are behind the best ones: the log of their ratio, unless said."""
        return np.asarray(np.log(chosen / best))

    @abstractmethod
    def format(self, value: float) -> str:
        """A value as people read it, with its unit."""
