"""The LensLLM law: the rectified law with its pre-learned term taken from the kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lensllm.curves import Floats
from lensllm.errors import InputError
from lensllm.laws.base import Law, Prior
from lensllm.laws.fit import LOWER, F


class LensLLMLaw(Law):
    """L(D) = B / (F(Theta, t) + D^beta) + E (Zeng et al. 2025, Equation 10).

    F(Theta, t) = |exp(-eta Theta t) (f_0(X) - y)|^2 falls with training time t from F(0) to F(infinity). With t known F
    is fixed (the paper's phase fitting); with t unknown F is free within (F(infinity), F(0)] (its prediction).

    Args:
        F_max: F(0), a number or one a curve.
        F_min: F(infinity) likewise; equal to `F_max` where F is known.
        prior, f_scale, starts: see `Law`.

    Raises:
        InputError: unless 0 <= F_min <= F_max and F_max is above 0 and finite.
    """

    name = "lensllm"

    def __init__(
        self,
        F_max: ArrayLike,
        F_min: ArrayLike = 0.0,
        prior: Prior | None = None,
        f_scale: float | None = None,
        starts: int = 3,
    ) -> None:
        super().__init__(prior, f_scale, starts)
        self.F_max = np.asarray(F_max, dtype=float)
        self.F_min = np.asarray(F_min, dtype=float)
        ordered = (self.F_min >= 0) & (self.F_min <= self.F_max) & (self.F_max > 0) & np.isfinite(self.F_max)
        if not np.all(ordered):
            raise InputError("expected 0 <= F_min <= F_max with F_max above 0 and finite")

    def _log_f_bounds(self, curves: int) -> tuple[Floats, Floats]:
        high = np.broadcast_to(np.log(self.F_max), curves)
        low = np.broadcast_to(np.log(np.maximum(self.F_min, np.exp(LOWER[F]))), curves)
        return np.minimum(low, high), high
