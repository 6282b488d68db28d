"""What a candidate's weights take in memory while they are trained and served, by rule and before they are loaded."""

from __future__ import annotations

from dataclasses import dataclass

from lensllm.candidates import Candidate, Full, Qlora
from lensllm.candidates.crossing import share_of
from lensllm.candidates.four_bits import packed_bytes
from lensllm.tuning.training_config import TrainingConfig

BYTES = {"float32": 4.0, "bfloat16": 2.0}
TRAINED = 16.0
"""Of a trained parameter: 4, its gradient's 4 and AdamW's two moments'."""
ADAPTER = 4.0
"""Of a parameter of an adapter, which stays in float32."""


@dataclass(frozen=True)
class WeightsMemory:
    """Bytes of weights, and of what is kept for each of them in training; activations come on top.

    Attributes:
        training: 16 a trained parameter, and the frozen ones as they are held: 4, 2 or, in 4 bits, 0.516 bytes.
        serving: in the type that is computed in. LoRA and DoRA are merged into their model, which is then as large as
            it was; a base in 4 bits is served with its adapters beside it.
        served_parameters: the model's, and those of adapters that are not merged.
    """

    training: float
    serving: float
    served_parameters: int


def weights_memory(candidate: Candidate, parameters: int, trained: int, config: TrainingConfig) -> WeightsMemory:
    """By the method, and the type that products are computed in.

    Args:
        candidate: which says the method.
        parameters: of its model.
        trained: those that are trained.
        config: says the type.

    >>> from lensllm.candidates import Lora, find_candidate
    >>> from dataclasses import replace
    >>> lora = replace(find_candidate("gpt2-0.2m-random"), method=Lora())
    >>> weights_memory(lora, 1000, 10, TrainingConfig(dtype="bfloat16"))
    WeightsMemory(training=2160.0, serving=2000.0, served_parameters=1000)
    """
    a_weight = BYTES[config.dtype]
    if isinstance(candidate.method, Full):
        return WeightsMemory(TRAINED * parameters, a_weight * parameters, parameters)
    if not isinstance(candidate.method, Qlora):
        return WeightsMemory(a_weight * parameters + TRAINED * trained, a_weight * parameters, parameters)
    share = share_of(candidate)
    base = packed_bytes(round(share * parameters)) + (1 - share) * parameters * a_weight
    return WeightsMemory(base + TRAINED * trained, base + ADAPTER * trained, parameters + trained)
