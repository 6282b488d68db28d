"""Memory of weights by rule, against what loaded and prepared models hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lensllm.candidates import Full, Lora, Qlora, find_candidate
from lensllm.candidates.four_bits import elements
from lensllm.candidates.load import load_model
from lensllm.tuning.training_config import TrainingConfig
from lensllm.tuning.weights_memory import weights_memory


def held(model, a_trained=16):
    """Bytes of the parameters, of scales in 4 bits too; 16 for each that is trained."""
    total = 0.0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += parameter.numel() * (a_trained if parameter.requires_grad else parameter.element_size())
        if state is not None:
            total += elements(parameter) / 64 * (1 + 4 / 256)
    return total


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", [Full(), Lora(lora_r=4), Lora(lora_r=4, use_dora=True), Qlora(lora_r=4)], ids=str)
@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_the_rules_are_what_models_hold(wide_model_folders, name, method, dtype):
    candidate = replace(find_candidate(str(wide_model_folders[name])), method=method)
    model = method.prepare(load_model(candidate, dtype=method.weights_dtype(dtype)))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parameters = sum(map(elements, load_model(candidate.unquantised).parameters()))
    found = weights_memory(candidate, parameters, trained, TrainingConfig(dtype=dtype))
    tolerance = 0.15 if isinstance(method, Qlora) and name == "t5" else 0.01  # T5's wo stays in float32
    assert found.training == pytest.approx(held(model), rel=tolerance)
    if isinstance(method, Qlora):
        assert found.serving == pytest.approx(held(model, a_trained=4), rel=tolerance)
        assert found.served_parameters == parameters + trained
    else:
        assert found.serving == parameters * {"float32": 4, "bfloat16": 2}[dtype]
        assert found.served_parameters == parameters
