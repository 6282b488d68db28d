"""No tuning: the model is used as it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lensllm.candidates.methods.base import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class NoTuning(Method):
    """Zero-shot: nothing is trained, so there are 0 training examples and nothing is forecast.

    >>> NoTuning().name, NoTuning().trains, NoTuning().base_learning_rate(250_000)
    ('none', False, 0.0)
    """

    name = "none"
    trains = False

    def prepare(self, model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
        """The model itself."""
        return model

    def base_learning_rate(self, parameters: int) -> float:
        """0: no step is made."""
        return 0.0
