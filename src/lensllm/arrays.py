"""The array type that all rooms share, and a median."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""An array of double precision; its shape stands where it is used."""


def known_median(values: Floats, axis: int) -> Floats:
    """Medians along an axis of what is finite, NaN standing for what is not known; 0 where nothing is, that axis kept.

    >>> known_median(np.array([[1.0, np.nan, 4.0], [2.0, np.nan, np.nan]]), axis=0).tolist()
    [[1.5, 0.0, 4.0]]
    """
    ordered = np.sort(values, axis=axis)
    count = np.isfinite(values).sum(axis=axis, keepdims=True)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[axis] - 1)
    middle = (np.take_along_axis(ordered, low, axis) + np.take_along_axis(ordered, high, axis)) / 2
    return np.where(count > 0, middle, 0.0)
