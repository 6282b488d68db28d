"""What every selector is, and the measured points it may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import Forecast


class Selector(ABC):
    """A method that forecasts the loss of every candidate at a larger number of examples.

    Selectors never fail on thin data: a candidate about which nothing can be said gets NaN, and a method with
    uncertainty widens. The same curves give the same forecast.
    """

    name: ClassVar[str]

    @abstractmethod
    def forecast(self, curves: Curves, target_size: float) -> Forecast:
        """Forecast the loss of each candidate after fine-tuning on `target_size` examples.

        Args:
            curves: what was measured, all of it usable.
            target_size: number of training examples, above 0.

        Raises:
            InputError: if there is no candidate or `target_size` is not a positive number.
        """


class PointSelector(Selector):
    """A selector that forecasts one candidate at a time and gives no uncertainty (one sample)."""

    def forecast(self, curves: Curves, target_size: float) -> Forecast:
        """Forecast each candidate by itself."""
        check(curves, target_size)
        mean = np.array([self.point(curves.of([name]), target_size) for name in curves.candidates])
        return Forecast(curves.candidates, target_size, mean, mean[None])

    @abstractmethod
    def point(self, curve: Curves, target_size: float) -> float:
        """The forecast for a single candidate's curve; NaN if nothing can be said."""


def forecast_path(selector: Selector, curves: Curves, target_size: float, steps: int = 9) -> tuple[Forecast, ...]:
    """Forecasts at growing sizes from the last measured one to the target, evenly spaced in log size.

    Raises:
        InputError: if nothing was measured after fine-tuning.
    """
    check(curves, target_size)
    measured = curves.sizes[(curves.sizes > 0) & np.isfinite(curves.losses).any(axis=0)]
    if not measured.size:
        raise InputError(
            "nothing was measured after fine-tuning: give losses at one or more numbers of examples above 0"
        )
    sizes = np.geomspace(min(measured[-1], target_size), target_size, steps)
    return tuple(selector.forecast(curves, float(size)) for size in np.unique(sizes))


def check(curves: Curves, target_size: float) -> None:
    """Refuse what no selector can work with."""
    if not curves.candidates:
        raise InputError("there is no candidate to rank: give at least one curve")
    if not (np.isfinite(target_size) and target_size > 0):
        raise InputError(f"target_size is {target_size}, expected a number of examples above 0")


def fine_tuned(curve: Curves) -> tuple[Floats, Floats]:
    """Sizes above 0 and positive finite losses of a single candidate, both of shape (points,)."""
    losses = curve.losses[0]
    usable = (curve.sizes > 0) & np.isfinite(losses) & (losses > 0)
    return curve.sizes[usable], losses[usable]
