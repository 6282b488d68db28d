"""The algorithm of the LensLLM paper as it stands there: the law with a measured kernel term, accept then stop."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import Forecast
from lensllm.laws import LensLLMLaw
from lensllm.selectors.base import Selector

REMAINING = "remaining_"
SCALE = "squared_residual"


class LensLLMLawSelector(Selector):
    """Zeng et al. 2025: L(D) = B / (F(Theta, t) + D^beta) + E (Equation 10) with F measured before any training.

    F(Theta, t) = ||exp(-eta Theta t) (f_0(X) - y)||^2 comes from the kernel of the untouched model: `squared_residual`
    at t = 0 and its part `remaining_<t>` later. With t known F is fixed and (B, beta, E) are fitted (the paper's phase
    fitting); else t is fitted as well, within the times that were measured (its prediction).

    Going back from the largest size, `gamma` points are accepted. The one before them is, too, unless it lies more than
    `tau` residual standard deviations off the law fitted to those; then no further one is. The paper names both
    dials and ablates them over 3 to 5 and 1 to 5; points are accepted as in Lin et al.'s Algorithm 1.
    With t to be fitted a fourth point is needed.

    Args:
        gamma: points always accepted, from the largest size on.
        tau: stopping threshold.
        t: training time, where it is known.

    Raises:
        InputError: if gamma is below 3, or the curves lack F.

    >>> import pandas as pd
    >>> known = pd.DataFrame({"squared_residual": [40.0], "remaining_1": [0.75], "remaining_10": [0.25]}, index=["a"])
    >>> sizes = np.array([50, 100, 200, 400, 800])
    >>> curves = Curves(("a",), sizes, [8 / (20 + sizes**0.5) + 1], known)
    >>> LensLLMLawSelector().forecast(curves, 6400).mean.round(3).tolist()
    [1.08]
    """

    name = "lensllm_law"

    def __init__(self, gamma: int = 3, tau: float = 5.0, t: float | None = None) -> None:
        if gamma < 3:
            raise InputError(f"gamma is {gamma}, expected at least 3 points for B, beta and E")
        self.gamma = gamma
        self.tau = tau
        self.t = t

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """The law through the points that were accepted; the last loss where it cannot be fitted."""
        times, values = kernel_losses(curves)
        tuned = curves.sizes > 0
        x = curves.sizes[tuned]
        usable = np.isfinite(curves.losses) & (curves.losses > 0)
        losses = np.where(usable, curves.losses, np.nan)[:, tuned]
        count = np.isfinite(losses).sum(axis=1)
        known = np.isfinite(values).all(axis=1)
        means = np.tile(_last(losses), (sizes.size, 1))
        open_ = known & (count >= self.gamma)
        for accepted in range(self.gamma, max(int(count.max(initial=0)), self.gamma) + 1):
            rows = np.flatnonzero(open_ & (count >= accepted))
            if not rows.size:
                break
            newest = _newest(losses[rows], accepted)
            law = LensLLMLaw.measured(times, values[rows], self.t).fit(x, newest)
            fitted = np.asarray(law.status_ == "ok")
            means[:, rows[fitted]] = law.predict(sizes)[fitted].T
            few = np.asarray(law.status_ == "too few points")
            open_[rows] = few | (fitted & ~self._off(law, x, losses[rows], newest))
        return Forecast(curves.candidates, target_size, sizes, means)

    def _off(self, law: LensLLMLaw, x: Floats, losses: Floats, newest: Floats) -> np.ndarray:
        """Whether the point before those that were fitted lies off the law, shape (rows,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = np.abs(np.log(losses) - np.log(law.predict(x)))
        before = np.where(np.isfinite(newest), np.nan, residual)
        place = np.where(np.isfinite(before), np.arange(x.size), -1).max(axis=1)
        off = np.take_along_axis(before, np.maximum(place, 0)[:, None], axis=1)[:, 0]
        return (place >= 0) & (off > self.tau * law.log_rmse_)


def kernel_losses(curves: Curves) -> tuple[Floats, Floats]:
    """Times t and F(Theta, t) of each candidate at them, shapes (T,) and (K, T); NaN of those that were not probed.

    Raises:
        InputError: if the curves carry no F.
    """
    names = [str(column) for column in curves.features if str(column).startswith(REMAINING)]
    if SCALE not in curves.features or not names:
        raise InputError(
            f"lensllm_law needs F(Theta, t) of each candidate: add the columns '{SCALE}' and '{REMAINING}1', or let "
            "`lensllm select --kernel` measure them"
        )
    by_time = sorted((float(name.removeprefix(REMAINING)), name) for name in names)
    parts = curves.features[[name for _, name in by_time]].to_numpy(float)
    scale = curves.features[SCALE].to_numpy(float)[:, None]
    values = scale * np.minimum.accumulate(np.column_stack([np.ones(len(parts)), parts]), axis=1)
    return np.array([0.0, *(time for time, _ in by_time)]), np.where(values > 0, values, np.nan)


def _last(losses: Floats) -> Floats:
    seen = np.isfinite(losses)
    place = np.where(seen, np.arange(losses.shape[1]), 0).max(axis=1, initial=0)
    found = (
        np.take_along_axis(losses, place[:, None], axis=1)[:, 0] if losses.shape[1] else np.full(len(losses), np.nan)
    )
    return np.asarray(found)


def _newest(losses: Floats, count: int) -> Floats:
    """The last `count` measured points of each row, NaN elsewhere."""
    after = np.isfinite(losses)[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.where(after <= count, losses, np.nan)
