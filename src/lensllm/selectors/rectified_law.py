"""Extrapolate the rectified law, fitted to each candidate alone."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import DrawnErrors, Forecast
from lensllm.laws import Law, Prior, RectifiedLaw
from lensllm.selectors.base import Selector

DRAWS = 2000
"""Posterior samples, as many as the default selector has."""


class LawSelector(Selector):
    """Forecast = a law fitted to a candidate's fine-tuned points; the last loss where it cannot be fitted.

    Args:
        law: the law, unfitted.
        draws: number of posterior samples; candidates are independent of each other.
        seed: of the samples.
    """

    def __init__(self, law: Law, draws: int = DRAWS, seed: int = 0) -> None:
        self.law = law
        self.draws = draws
        self.seed = seed

    def _forecast(self, curves: Curves, target_size: float, sizes: Floats) -> Forecast:
        """Fit every candidate at once and read the law at the sizes."""
        tuned = curves.sizes > 0
        usable = np.isfinite(curves.losses) & (curves.losses > 0)
        losses = np.where(usable, curves.losses, np.nan)[:, tuned]
        law = self.law.fit(curves.sizes[tuned], losses)
        fitted = np.asarray(law.status_ == "ok")
        last = np.array([row[np.isfinite(row)][-1] if np.isfinite(row).any() else np.nan for row in losses])
        means = np.where(fitted[:, None], law.predict(sizes), last[:, None]).T
        samples = law.sample(sizes, self.draws, self.seed).transpose(0, 2, 1)
        own = np.where(fitted, np.log(np.where(fitted, samples, 1.0) / np.where(fitted, means, 1.0)), 0.0)
        return Forecast(curves.candidates, target_size, sizes, means, DrawnErrors(own))


class RectifiedLawSelector(LawSelector):
    """The rectified law of Lin et al. 2024 ("OurFit" in their code); least squares unless a prior is given.

    >>> sizes = np.array([50, 100, 200, 400, 800])
    >>> curves = Curves(("a",), sizes, [8 / (20 + sizes**0.5) + 1])
    >>> RectifiedLawSelector().forecast(curves, 6400).mean.round(3).tolist()
    [1.08]
    """

    name = "rectified_law"

    def __init__(self, prior: Prior | None = None, draws: int = DRAWS, seed: int = 0) -> None:
        super().__init__(RectifiedLaw(prior=prior), draws, seed)
