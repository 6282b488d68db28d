"""Extrapolate the vanilla power law, fitted to each candidate alone."""

from __future__ import annotations

from lensllm.laws import VanillaLaw
from lensllm.selectors.rectified_law import DRAWS, LawSelector


class VanillaLawSelector(LawSelector):
    """L(D) = B / D^beta + E by least squares ("VanillaFit" of Lin et al. 2024, without its outer exponent).

    >>> import numpy as np
    >>> from lensllm import Curves
    >>> sizes = np.array([50, 100, 200, 400, 800])
    >>> curves = Curves(("a",), sizes, [2 / sizes**0.3 + 1])
    >>> VanillaLawSelector().forecast(curves, 6400).mean.round(3).tolist()
    [1.144]
    """

    name = "vanilla_law"

    def __init__(self, draws: int = DRAWS, seed: int = 0) -> None:
        super().__init__(VanillaLaw(), draws, seed)
