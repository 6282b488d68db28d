"""The array type that all rooms share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""An array of double precision; its shape stands where it is used."""
