"""The LensLLM law: the rectified law with its pre-learned term taken from the kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lensllm.arrays import Floats
from lensllm.errors import InputError
from lensllm.laws.base import Law, Prior
from lensllm.laws.fit import LOWER, F


class LensLLMLaw(Law):
    """L(D) = B / (F(Theta, t) + D^beta) + E (Zeng et al. 2025, Equation 10).

    F(Theta, t), the squared norm of exp(-eta Theta t) (f_0(X) - y), falls with training time t from F(0) to
    F(infinity). With t known F is fixed (the paper's phase fitting); with t unknown F is free within
    (F(infinity), F(0)] (its prediction).

    `LensLLMLaw.measured` takes both bounds from F as it was measured; `training_times` says which t a fit chose.

    Args:
        F_max: F(0), a number or one a curve.
        F_min: F(infinity) likewise; equal to `F_max` where F is known.
        prior, f_scale, starts: see `Law`.

    Raises:
        InputError: unless 0 <= F_min <= F_max and F_max is above 0 and finite.

    >>> sizes = np.array([50, 100, 200, 400, 800])
    >>> losses = 8 / (20 + sizes**0.5) + 1
    >>> times, measured = [0, 1, 10, 100], [40.0, 30.0, 20.0, 10.0]
    >>> law = LensLLMLaw.measured(times, measured).fit(sizes, losses)
    >>> law.params_["F"].round(1).item(), law.training_times(times, measured).round(1).item()
    (20.0, 10.0)
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

    @classmethod
    def measured(
        cls, times: ArrayLike, losses: ArrayLike, t: float | None = None, prior: Prior | None = None
    ) -> LensLLMLaw:
        """The law with F(Theta, t) as measured on the untouched models (`probes.spectrum.Spectrum.loss`).

        Args:
            times: t, ascending, shape (T,).
            losses: F(Theta, t) of each curve at these times, falling, shape (N, T).
            t: the training time where it is known: F is read off there (log F linear in log t between the times).
                None leaves it to the fit, within the times measured.
            prior: see `Law`.

        Raises:
            InputError: if shapes do not agree, F rises, or t lies outside the times.
        """
        grid, values = _checked(times, losses)
        if t is None:
            return cls(values[:, 0], values[:, -1], prior)
        if not grid[0] <= t <= grid[-1]:
            raise InputError(f"t is {t:g}, expected a training time between {grid[0]:g} and {grid[-1]:g}")
        known = np.exp([np.interp(np.log1p(t), np.log1p(grid), np.log(row)) for row in values])
        return cls(known, known, prior)

    def training_times(self, times: ArrayLike, losses: ArrayLike) -> Floats:
        """The t at which the measured F(Theta, t) of each curve is its fitted F, shape (N,); NaN where not fitted.

        Args:
            times, losses: as `measured` took them.
        """
        grid, values = _checked(times, losses)
        log_f = np.log(self.params_["F"])
        return np.array(
            [
                np.expm1(np.interp(-f, -np.log(row), np.log1p(grid))) if np.isfinite(f) else np.nan
                for f, row in zip(log_f, values, strict=True)
            ]
        )

    def _log_f_bounds(self, curves: int) -> tuple[Floats, Floats]:
        high = np.broadcast_to(np.log(self.F_max), curves)
        low = np.broadcast_to(np.log(np.maximum(self.F_min, np.exp(LOWER[F]))), curves)
        return np.minimum(low, high), high


def _checked(times: ArrayLike, losses: ArrayLike) -> tuple[Floats, Floats]:
    grid, values = np.asarray(times, dtype=float), np.atleast_2d(np.asarray(losses, dtype=float))
    if grid.ndim != 1 or values.shape[1:] != grid.shape or np.any(np.diff(grid) <= 0) or np.any(grid < 0):
        raise InputError(f"expected ascending times and one F a time, got {grid.shape} and {values.shape}")
    if not np.all(values > 0) or np.any(np.diff(values, axis=1) > 1e-9 * values[:, :1]):
        raise InputError("F(Theta, t) must be above 0 and fall with t")
    return grid, values
