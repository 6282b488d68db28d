"""Rank by the loss that the kernel forecasts before any training."""

from __future__ import annotations

from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.selectors.base import PointSelector

PREFIX = "kernel_"


class KernelOnly(PointSelector):
    """Forecast = the kernel curve at d examples: a loss in nats a byte, with nothing trained (`probes.kernel_curve`).

    d is far below the target size, so the forecast is too high; it ranks.

    Args:
        d: number of training examples of the kernel curve; the largest that was measured if None.

    Raises:
        InputError: if the curves carry no feature `kernel_<d>`.

    >>> import pandas as pd
    >>> kernel = pd.DataFrame({"kernel_8": [2.1, 2.2], "kernel_16": [2.0, 1.9]}, index=["a", "b"])
    >>> curves = Curves(("a", "b"), [50], [[1.6], [1.7]], kernel)
    >>> KernelOnly().forecast(curves, 800).mean.tolist(), KernelOnly(d=8).forecast(curves, 800).best
    ([2.0, 1.9], 'a')
    """

    name = "kernel_only"

    def __init__(self, d: int | None = None) -> None:
        self.d = d

    def point(self, curve: Curves, target_size: float) -> float:
        """The kernel curve at d; NaN where the candidate has none."""
        measured = kernel_sizes(curve)
        d = max(measured, default=None) if self.d is None else self.d
        if d not in measured:
            raise InputError(
                f"kernel_only needs the kernel curve of each candidate: add columns such as 'kernel_{d or 32}', "
                "or let `lensllm select --kernel` measure them"
            )
        return float(curve.features[f"{PREFIX}{d}"].iloc[0])


def kernel_sizes(curves: Curves) -> list[int]:
    """The d of the features `kernel_<d>`, ascending."""
    names = [str(column).removeprefix(PREFIX) for column in curves.features if str(column).startswith(PREFIX)]
    return sorted(int(name) for name in names if name.isdecimal())
