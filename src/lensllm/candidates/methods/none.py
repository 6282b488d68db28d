"""No tuning: the model is used as it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lensllm.candidates.methods.base import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class NoTuning(Method):
    """Zero-shot: nothing is trained, so there are 0 training examples and nothing is forecast.

    Attributes:
        quant_type: what the base's weights are quantised to by the method before which it is measured; empty for none.

    >>> NoTuning().name, NoTuning().trains, NoTuning().base_learning_rate(250_000)
    ('none', False, 0.0)
    """

    name = "none"
    trains = False

    quant_type: str = ""

    def prepare(self, model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
        """The model itself."""
        return model

    def base_learning_rate(self, parameters: int) -> float:
        """0: no step is made."""
        return 0.0

    def weights_dtype(self, dtype: str) -> str:
        """What products are computed in."""
        return dtype

    def spec(self) -> dict[str, Any]:
        """Its name and the quantisation, where there is one."""
        return {"method": self.name, "quant_type": self.quant_type} if self.quant_type else {}
