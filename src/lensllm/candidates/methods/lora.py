"""LoRA: the weights stay as they are, and a product of two narrow matrices is trained beside each linear layer."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lensllm.candidates.configuration import first_line
from lensllm.candidates.methods.base import Method
from lensllm.candidates.methods.full import Full
from lensllm.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
FULL_TIMES = 10.0
"""LoRA's best learning rate over that of full tuning, whatever the rank (Schulman and Thinking Machines 2025, *LoRA
Without Regret*: 9.8 over 14 models)."""


@dataclass(frozen=True)
class Lora(Method):
    """W x + lora_alpha / lora_r B A x, with A (lora_r, in) and B (out, lora_r) trained (Hu et al. 2021).

    B begins at 0, so that an untrained adapter changes nothing; A is drawn as peft draws it, by the run's seed.

    Attributes:
        lora_r: rank of the product.
        lora_alpha: scale, 2 lora_r by default as in TRL.
        lora_dropout: share of the adapter's inputs dropped in training; 0 as in peft.
        lora_target_modules: names of the layers; `all-linear` is every linear layer but the output layer.
        use_dora: train each column's length apart from its direction (Liu et al. 2024).
        use_rslora: scale by lora_alpha / sqrt(lora_r) (Kalajdzievski 2023).

    >>> Lora(lora_r=4).spec()["lora_r"], Lora(lora_r=4).label, Lora(lora_alpha=64, use_dora=True).whole_label
    (4, 'lora r4', 'lora r16 alpha 64 dora')
    """

    name = "lora"
    title: ClassVar[str] = "LoRA"

    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_target_modules: tuple[str, ...] = (ALL_LINEAR,)
    use_dora: bool = False
    use_rslora: bool = False

    def prepare(self, model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
        """The model with adapters in its linear layers, in float32 whatever it is in, and nothing else to be trained.

        Raises:
            InputError: if the model has no such layers.
        """
        import torch
        from peft import LoraConfig, inject_adapter_in_model

        targets = list(self.lora_target_modules)
        config = LoraConfig(
            r=self.lora_r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=ALL_LINEAR if targets == [ALL_LINEAR] else targets,
            use_dora=self.use_dora,
            use_rslora=self.use_rslora,
        )
        if (tied := _tied_output(model)) and any(tied == one or tied.endswith(f".{one}") for one in targets):
            raise InputError(f"its output layer {tied} shares its weights with the embeddings, so LoRA cannot have it")
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            try:
                adapted = inject_adapter_in_model(config, model)
            except ValueError as error:
                missing = ", ".join(targets)
                raise InputError(
                    f"it has no layers that LoRA can be put into ({missing}): {first_line(error)}"
                ) from error
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        return adapted

    def base_learning_rate(self, parameters: int) -> float:
        """15 / sqrt(parameters), ten times that of full tuning: 1.3e-3 at 135 M, 1.8e-4 at 7 B.

        >>> round(Lora().base_learning_rate(135_000_000), 4)
        0.0013
        """
        return FULL_TIMES * Full().base_learning_rate(parameters)

    def weights_dtype(self, dtype: str) -> str:
        """What products are computed in: these weights stay as they are."""
        return dtype

    @property
    def backward(self) -> float:
        """1: the inputs' gradients; the adapters' own are small beside them."""
        return 1.0

    @property
    def label(self) -> str:
        """`lora r16`."""
        return f"{self.name} r{self.lora_r}"

    @property
    def whole_label(self) -> str:
        """The label, and whatever is not by default."""
        other = [
            f" alpha {self.lora_alpha}" * (self.lora_alpha != Lora.lora_alpha),
            f" dropout {self.lora_dropout:g}" * (self.lora_dropout != Lora.lora_dropout),
            f" {' '.join(self.lora_target_modules)}" * (self.lora_target_modules != Lora.lora_target_modules),
            " dora" * self.use_dora,
            " rslora" * self.use_rslora,
        ]
        return f"{self.label}{''.join(other)}"

    @property
    def told(self) -> str:
        """How it is said in a sentence."""
        layers = (
            "all linear layers" if self.lora_target_modules == (ALL_LINEAR,) else ", ".join(self.lora_target_modules)
        )
        return f"{self.title} (r {self.lora_r}, alpha {self.lora_alpha}, {layers})"

    def spec(self) -> dict[str, Any]:
        """Its name and every setting."""
        return {"method": self.name, **asdict(self)}


def _tied_output(model: PreTrainedModel) -> str:
    """Name of the output layer where its weights are those of the embeddings."""
    output, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    tied = getattr(output, "weight", None) is getattr(embeddings, "weight", output)
    return next((name for name, module in model.named_modules() if tied and module is output), "")
