"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lensllm.candidates.methods.base import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Full(Method):
    """All weights, as they are loaded."""

    name = "full"

    def prepare(self, model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
        """The model itself."""
        return model

    def base_learning_rate(self, parameters: int) -> float:
        """1.5 / sqrt(parameters): 3e-3 at 0.25 M, 1.3e-4 at 135 M, 1.8e-5 at 7 B.

        >>> Full().base_learning_rate(250_000)
        0.003
        """
        return 1.5 / math.sqrt(parameters)
