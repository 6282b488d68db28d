"""What every selector is, and the measured points it may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import Forecast, bounded

FAN = 9
"""Sizes from the last measured one to the target that a picture of a forecast is drawn through: a smooth line."""


class Selector(ABC):
    """A method that forecasts the loss of every candidate at larger numbers of examples.

    Selectors never fail on thin data: a candidate about which nothing can be said gets NaN, and a method with
    uncertainty widens. The same curves give the same forecast, to the bit: in whatever order the candidates stand, and
    at the target whatever other sizes are asked for.

    >>> class LastLoss(Selector):
    ...     name = "last_loss"
    ...     def _forecast(self, curves, target_size, sizes):
    ...         means = np.tile(curves.losses[:, -1], (len(sizes), 1))
    ...         return Forecast(curves.candidates, target_size, sizes, means)
    >>> LastLoss().forecast(Curves(("a", "b"), [50, 100], [[2.0, 1.9], [2.1, 1.8]]), 800).ranking
    ('b', 'a')
    """

    name: ClassVar[str]

    def forecast(self, curves: Curves, target_size: float, sizes: Sequence[float] | Floats = ()) -> Forecast:
        """Forecast the loss of each candidate after fine-tuning on `target_size` examples.

        Args:
            curves: what was measured of K candidates, all of it usable.
            target_size: number of training examples, above 0.
            sizes: others to forecast in the same worlds.

        Returns:
            The forecast at the target and the other sizes, candidates in the order of the curves.

        Raises:
            InputError: if there is no candidate, or a size is not a positive number.

        Example:
            >>> from lensllm.selectors import GrowingSlopes
            >>> curves = Curves(("a", "b"), [50, 100, 200], [[2.0, 1.9, 1.8], [2.1, 2.06, 2.02]])
            >>> forecast = GrowingSlopes().forecast(curves, 800, sizes=[400])
            >>> forecast.best, forecast.samples.shape, forecast.paths.shape
            ('a', (2000, 2), (2000, 2, 2))
            >>> forecast.learn("a", 400) < forecast.learn("a", 800)
            True
        """
        check(curves, target_size)
        asked = np.unique([float(target_size), *map(float, sizes)])
        if not (np.isfinite(asked).all() and asked[0] > 0):
            raise InputError(f"the sizes asked for are {list(sizes)}, expected numbers of examples above 0")
        ordered = curves.of(sorted(curves.candidates))
        return bounded(self._forecast(ordered, float(target_size), asked), ordered).of(curves.candidates)

    @abstractmethod
    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """The method itself: candidates are sorted by name, `sizes` ascend and hold the target."""


class PointSelector(Selector):
    """A selector that forecasts one candidate at a time and gives no uncertainty (one sample)."""

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """Forecast each candidate by itself."""
        each = [curves.of([name]) for name in curves.candidates]
        means = np.array([[self.point(curve, size) for curve in each] for size in sizes])
        return Forecast(curves.candidates, target_size, sizes, means)

    @abstractmethod
    def point(self, curve: Curves, target_size: float) -> float:
        """The forecast for a single candidate's curve; NaN if nothing can be said."""


def forecast_path(
    selector: Selector, curves: Curves, target_size: float, sizes: Sequence[float] | Floats = ()
) -> Forecast:
    """A forecast with sizes from the last measured one to the target, evenly spaced in log size, and others.

    Raises:
        InputError: if nothing was measured after fine-tuning, or as `Selector.forecast`.

    >>> from lensllm.selectors import GrowingSlopes
    >>> curves = Curves(("a", "b"), [50, 100, 200], [[2.0, 1.9, 1.8], [2.1, 2.06, 2.02]])
    >>> path = forecast_path(GrowingSlopes(), curves, 800)
    >>> path.sizes.round().tolist()
    [200.0, 238.0, 283.0, 336.0, 400.0, 476.0, 566.0, 673.0, 800.0]
    >>> path.means[:, 0].round(2).tolist()
    [1.8, 1.78, 1.75, 1.72, 1.7, 1.67, 1.65, 1.62, 1.59]
    """
    check(curves, target_size)
    measured = curves.sizes[(curves.sizes > 0) & np.isfinite(curves.losses).any(axis=0)]
    if not measured.size:
        raise InputError(
            "nothing was measured after fine-tuning: give losses at one or more numbers of examples above 0"
        )
    between = np.geomspace(min(measured[-1], target_size), target_size, FAN)[:-1]
    return selector.forecast(curves, target_size, [*between, *sizes])


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
