"""What every objective is: a number read off a run, with its standard error and its unit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from lensllm.tuning.run import Run


class Objective(ABC):
    """A quantity that candidates are ranked by.

    Attributes:
        name: how it is called in tables.
        unit: what it is measured in, in words.
        ceiling: what a uniform guess has, above which nothing is forecast; infinite if there is no such value.

    >>> class TokenLoss(Objective):
    ...     name, unit = "token loss", "nats per token of completion"
    ...     def read(self, run):
    ...         return run.nats_per_token, float("nan")
    ...     def format(self, value):
    ...         return f"{value:.2f} nats/token"
    >>> TokenLoss().format(TokenLoss().read(Run("gpt2", 50, "done", nats_per_token=3.14159))[0])
    '3.14 nats/token'
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    ceiling: ClassVar[float] = math.inf

    @abstractmethod
    def read(self, run: Run) -> tuple[float, float]:
        """Its value in a run and the value's standard error over the test examples; NaN unless the run is done."""

    @abstractmethod
    def format(self, value: float) -> str:
        """A value as people read it, with its unit."""
