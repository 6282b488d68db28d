"""Extrapolate the vanilla power law, fitted to each candidate alone."""

from __future__ import annotations

from lensllm.laws import VanillaLaw
from lensllm.selectors.rectified_law import DRAWS, LawSelector


class VanillaLawSelector(LawSelector):
    """L(D) = B / D^beta + E by least squares ("VanillaFit" of Lin et al. 2024, without its outer exponent)."""

    name = "vanilla_law"

    def __init__(self, draws: int = DRAWS, seed: int = 0) -> None:
        super().__init__(VanillaLaw(), draws, seed)
