"""The rectified law."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.laws.base import Law
from lensllm.laws.fit import LOWER, UPPER, F


class RectifiedLaw(Law):
    """L(D) = B / (D_l + D^beta) + E (Lin et al. 2024, Equation 2).

    D_l, the pre-learned data size, stands as `F` in `params_`. It bends the curve flat below D = D_l^(1 / beta): the
    pre-power phase.
    """

    name = "rectified"

    def _log_f_bounds(self, curves: int) -> tuple[Floats, Floats]:
        return np.full(curves, LOWER[F]), np.full(curves, UPPER[F])
