"""Extrapolate the rectified law, fitted to each candidate alone."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.laws import Law, Prior, RectifiedLaw
from lensllm.selectors.base import Selector, check


class LawSelector(Selector):
    """Forecast = a law fitted to a candidate's fine-tuned points; the last loss where it cannot be fitted.

    Args:
        law: the law, unfitted.
        draws: number of posterior samples; candidates are independent of each other.
        seed: of the samples.
    """

    def __init__(self, law: Law, draws: int = 1000, seed: int = 0) -> None:
        self.law = law
        self.draws = draws
        self.seed = seed

    def forecast(self, curves: Curves, target_size: float) -> Forecast:
        """Fit every candidate at once and read the law at `target_size`."""
        check(curves, target_size)
        tuned = curves.sizes > 0
        usable = np.isfinite(curves.losses) & (curves.losses > 0)
        losses = np.where(usable, curves.losses, np.nan)[:, tuned]
        law = self.law.fit(curves.sizes[tuned], losses)
        mean = law.predict([target_size])[:, 0]
        samples = law.sample([target_size], self.draws, self.seed)[..., 0]
        last = np.array([row[np.isfinite(row)][-1] if np.isfinite(row).any() else np.nan for row in losses])
        fitted = np.isfinite(mean)
        return Forecast(
            curves.candidates, target_size, np.where(fitted, mean, last), np.where(fitted, samples, last[None])
        )


class RectifiedLawSelector(LawSelector):
    """The rectified law of Lin et al. 2024 ("OurFit" in their code); least squares unless a prior is given."""

    name = "rectified_law"

    def __init__(self, prior: Prior | None = None, draws: int = 1000, seed: int = 0) -> None:
        super().__init__(RectifiedLaw(prior=prior), draws, seed)
