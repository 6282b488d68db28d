"""The vanilla power law."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.laws.base import Law
from lensllm.laws.fit import LOG_ZERO


class VanillaLaw(Law):
    """L(D) = B / D^beta + E (Hestness et al. 2017; Kaplan et al. 2020): the power phase alone; D = 0 is left out.

    >>> sizes = np.array([50, 100, 200, 400, 800])
    >>> law = VanillaLaw().fit(sizes, 2 / sizes**0.3 + 1)
    >>> {name: value.round(2).item() for name, value in law.params_.items()}
    {'B': 2.0, 'F': 0.0, 'beta': 0.3, 'E': 1.0}
    """

    name = "vanilla"
    uses_zero = False

    def _log_f_bounds(self, curves: int) -> tuple[Floats, Floats]:
        nothing = np.full(curves, LOG_ZERO)
        return nothing, nothing
