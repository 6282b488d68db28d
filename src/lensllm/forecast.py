"""What a selector says: joint samples of the loss each candidate would reach on all the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lensllm.arrays import Floats

NOT_TUNED = " (not fine-tuned)"
"""Ends the name of a model that is used as it came."""


@dataclass(frozen=True)
class Forecast:
    """Joint samples of the final loss of K candidates at `target_size` examples.

    A row of `samples` is one possible world: an error common to all candidates moves the whole row and so
    changes the loss intervals but neither `p_best` nor `expected_regret`.

    Attributes:
        candidates: names, K of them.
        target_size: number of training examples the forecast is for.
        mean: the point forecast that ranks the candidates, shape (K,), same unit as the losses; NaN where
            nothing can be said.
        samples: shape (draws, K), NaN columns where `mean` is NaN; a method without uncertainty has one draw.
    """

    candidates: tuple[str, ...]
    target_size: float
    mean: Floats
    samples: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", np.asarray(self.mean, dtype=float))
        object.__setattr__(self, "samples", np.atleast_2d(np.asarray(self.samples, dtype=float)))
        k = len(self.candidates)
        if self.mean.shape != (k,) or self.samples.shape[1:] != (k,):
            raise ValueError(f"expected {k} forecasts, got mean {self.mean.shape} and samples {self.samples.shape}")

    @property
    def order(self) -> np.ndarray:
        """Positions of the candidates from best to worst; those without a forecast last."""
        return np.argsort(np.where(np.isnan(self.mean), np.inf, self.mean), kind="stable")

    @property
    def ranking(self) -> tuple[str, ...]:
        """Candidates from best to worst."""
        return tuple(self.candidates[i] for i in self.order)

    @property
    def best(self) -> str:
        """The candidate with the lowest point forecast."""
        return self.ranking[0]

    def interval(self, level: float = 0.9) -> Floats:
        """Central interval of the final loss, shape (K, 2), that holds it with probability `level`."""
        tail = (1 - level) / 2
        return np.quantile(self.samples, [tail, 1 - tail], axis=0).T

    @property
    def p_best(self) -> Floats:
        """Probability that each candidate has the lowest final loss, shape (K,); sums to 1, ties shared."""
        filled = np.where(np.isnan(self.samples), np.inf, self.samples)
        least = filled == filled.min(axis=1, keepdims=True)
        return (least / least.sum(axis=1, keepdims=True)).mean(axis=0)

    @property
    def expected_regret(self) -> Floats:
        """Expected loss above the best candidate's if this one were chosen, shape (K,)."""
        return np.asarray((self.samples - np.nanmin(self.samples, axis=1, keepdims=True)).mean(axis=0))
