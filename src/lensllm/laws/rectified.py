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

    >>> sizes = np.array([50, 100, 200, 400, 800])
    >>> law = RectifiedLaw().fit(sizes, 8 / (20 + sizes**0.5) + 1)
    >>> {name: value.round(2).item() for name, value in law.params_.items()}
    {'B': 8.0, 'F': 20.0, 'beta': 0.5, 'E': 1.0}
    >>> law.predict(6400).round(3).item()
    1.08
    """

    name = "rectified"

    def _log_f_bounds(self, curves: int) -> tuple[Floats, Floats]:
        return np.full(curves, LOWER[F]), np.full(curves, UPPER[F])
