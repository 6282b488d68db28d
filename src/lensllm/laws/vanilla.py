"""The vanilla power law."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.laws.base import Law
from lensllm.laws.fit import LOG_ZERO


class VanillaLaw(Law):
    """L(D) = B / D^beta + E (Hestness et al. 2017; Kaplan et al. 2020): the power phase alone; D = 0 is left out."""

    name = "vanilla"
    uses_zero = False

    def _log_f_bounds(self, curves: int) -> tuple[Floats, Floats]:
        nothing = np.full(curves, LOG_ZERO)
        return nothing, nothing
