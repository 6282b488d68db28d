"""QLoRA: LoRA beside linear layers whose own weights are held in 4 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lensllm.candidates.four_bits import FourBits, check_installed, check_widths
from lensllm.candidates.methods.lora import Lora
from lensllm.candidates.methods.none import NoTuning

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BASE = FourBits()


@dataclass(frozen=True)
class Qlora(Lora):
    """LoRA over a base in NF4 with quantised scales, by bitsandbytes (Dettmers et al. 2023, *QLoRA*).

    The linear layers that transformers quantises are those but the output layer and what an architecture keeps in
    float32 (T5's `wo`). The settings are those of LoRA. A base that comes in 4 bits stays as it is.

    >>> Qlora(lora_r=4).label, Qlora(lora_r=4).untuned
    ('qlora r4', NoTuning(quant_type='nf4'))
    """

    name = "qlora"
    title = "QLoRA"

    def prepare(self, model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
        """The model with adapters, marked so that transformers' Trainer takes it.

        Raises:
            InputError: as `Lora.prepare` and `check_widths`.
        """
        check_widths(_linear_layers(model))
        model = super().prepare(model, seed)
        model._hf_peft_config_loaded = True
        return model

    def check_installed(self) -> None:
        """Refuse to begin without bitsandbytes.

        Raises:
            InputError: saying how to install it.
        """
        check_installed()

    def loading(self, dtype: torch.dtype) -> dict[str, Any]:
        """The base in NF4.

        Raises:
            InputError: if bitsandbytes is not installed.
        """
        return {"quantization_config": BASE.config(dtype)}

    @property
    def untuned(self) -> NoTuning:
        """The base in NF4, which has another loss than the model before."""
        return NoTuning(BASE.quant_type)


def share_in_four_bits(model: PreTrainedModel) -> float:
    """Share of a model's parameters that lie in linear layers other than the output layer and those kept in float32.

    Experts that an architecture holds in one tensor for all of them are in none.

    >>> from lensllm.candidates import find_candidate
    >>> from lensllm.candidates.load import load_model
    >>> round(share_in_four_bits(load_model(find_candidate("gpt2-0.2m-random"))), 2)
    0.41
    """
    kept = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    whole = {id(layer) for name, layer in model.named_modules() if kept.intersection(name.split("."))}
    held = sum(layer.weight.numel() for layer in _linear_layers(model) if id(layer) not in whole)
    return held / sum(parameter.numel() for parameter in model.parameters())


def _linear_layers(model: PreTrainedModel) -> list[Any]:
    """All but the output layer."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    return [one for one in model.modules() if isinstance(one, nn.Linear | Conv1D) and one is not output]
