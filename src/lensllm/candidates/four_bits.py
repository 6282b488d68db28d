"""Weights in 4 bits by bitsandbytes: how they are asked for, and how a folder says that it has them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lensllm.candidates.files import walk
from lensllm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn
    from transformers import BitsAndBytesConfig, PreTrainedModel

PLAIN = re.compile(r"[\w.-]+")
BLOCK = 64
"""Weights that share a scale, as transformers has bitsandbytes make them."""
NESTED_BLOCK = 256
"""Scales that share a scale of their own, where these are quantised, too."""
ROUNDING = 0.2
"""More than half of the widest gap between the 16 values, in units of the largest (0.17)."""
KEYS = ("quantization_config", "compression_config")
GIVE = "give the model that was not quantised"


@dataclass(frozen=True)
class FourBits:
    """Blocks of weights that share a scale, each weight one of 16 values (Dettmers et al. 2023, *QLoRA*).

    Attributes:
        quant_type: `nf4`, the 16 quantiles of a normal distribution, or `fp4`.
        double_quant: whether the scales are quantised, too: 0.4 bits a weight less.
        skipped: modules left as they are; None for transformers' choice, the output layer and what an architecture
            keeps in float32.
    """

    quant_type: str = "nf4"
    double_quant: bool = True
    skipped: tuple[str, ...] | None = None

    def config(self, dtype: torch.dtype) -> BitsAndBytesConfig:
        """As `from_pretrained` takes it, products being formed in `dtype`.

        Raises:
            InputError: if bitsandbytes is not installed.
        """
        from transformers import BitsAndBytesConfig

        check_installed()
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.quant_type,
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=None if self.skipped is None else list(self.skipped),
        )


def check_installed() -> None:
    """Refuse what needs bitsandbytes where it is not installed.

    Raises:
        InputError: saying how to install it.
    """
    if find_spec("bitsandbytes") is None:
        raise InputError(
            'weights in 4 bits need bitsandbytes, which is not installed: pip install "lensllm[quantized]"'
        )


def four_bits(settings: dict[str, Any]) -> FourBits | None:
    """What a `config.json` says of its weights; None where they are not quantised.

    Raises:
        InputError: for any other quantisation.
    """
    found = [(one is settings, one[key]) for one in _objects(settings) for key in KEYS if one.get(key)]
    if not found:
        return None
    top, said = found[0]
    method = str((said.get("quant_method") if isinstance(said, dict) else None) or "quantization_config")
    if len(found) > 1 or not top or method != "bitsandbytes":
        raise InputError(
            f"its weights are quantised ({method}), and only 4 bits of bitsandbytes are trained over (by QLoRA): {GIVE}"
        )
    if said.get("load_in_8bit") or not said.get("load_in_4bit"):
        raise InputError(
            "its weights are quantised (bitsandbytes) in 8 bits, whose products depend on what an example is measured "
            f"beside: {GIVE}, or one in 4 bits"
        )
    kind, double = said.get("bnb_4bit_quant_type", "fp4"), said.get("bnb_4bit_use_double_quant", False)
    skipped, storage = said.get("llm_int8_skip_modules"), said.get("bnb_4bit_quant_storage", "uint8")
    names = isinstance(skipped, list) and all(isinstance(name, str) and PLAIN.fullmatch(name) for name in skipped)
    if kind not in ("nf4", "fp4") or not isinstance(double, bool) or storage != "uint8" or not (names or not skipped):
        raise InputError(f"config.json describes 4 bits of bitsandbytes that are not known: {GIVE}")
    return FourBits(kind, double, tuple(skipped) if skipped else None)


def _objects(settings: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    walk(settings, found.append)
    return found


def settle(model: PreTrainedModel) -> None:
    """Make the loaded layers the same in training and evaluation, on every machine.

    On CPUs with AVX512-BF16 bitsandbytes packs a layer anew at the first evaluation: from then on its products are in
    bfloat16 and have no gradients. That is switched off. Parameters that are not in 4 bits get memory of their own:
    where they lie in the mapped files they keep all of these mapped, the weights before packing included.

    Raises:
        InputError: if nothing was quantised, a layer has no scales, or as `check_widths`.
    """
    from bitsandbytes.nn import Linear4bit

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    if not layers or any(getattr(layer.weight, "quant_state", None) is None for layer in layers):
        raise InputError("its layers cannot be held in 4 bits by bitsandbytes")
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    for parameter in model.parameters():
        if not hasattr(parameter, "quant_state"):
            parameter.data = parameter.data.clone()
    check_widths(layers)


def check_widths(layers: Iterable[nn.Module]) -> None:
    """Try with each width of a matrix whether bitsandbytes unpacks it as it was.

    Version 0.50.2 does not on CPUs with AVX512 for widths that are multiples of 16 and not of 64: scales of other
    blocks are taken.

    Args:
        layers: linear ones, `Conv1D` included, in 4 bits or before.

    Raises:
        InputError: naming the first width at fault.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    for width in sorted({_width(one) for one in layers}):
        if not _unpacks(width, device):
            raise InputError(
                f"one of its layers reads {width:,} numbers, and the installed bitsandbytes unpacks matrices of this "
                f"width wrongly on this machine ({device}): only multiples of {BLOCK} are safe"
            )


def _width(layer: nn.Module) -> int:
    """Numbers that a linear layer reads; a `Conv1D` calls them `nx`."""
    return int(getattr(layer, "nx", 0) or getattr(layer, "in_features", 0))


@cache
def _unpacks(width: int, device: str) -> bool:
    """Whether a matrix whose blocks differ widely in scale comes back from 4 bits within rounding."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    with torch.device(device):
        numbers = torch.arange(BLOCK * width)
        scales = 4.0 ** (numbers // BLOCK % 5)
        matrix = (torch.sin(numbers.float()) * scales).reshape(BLOCK, width)
        back = [dequantize_4bit(*quantize_4bit(matrix, blocksize=BLOCK, quant_type=kind)) for kind in ("nf4", "fp4")]
        return all(bool(((one - matrix).abs().flatten() <= ROUNDING * scales).all()) for one in back)


def packed_bytes(weights: int) -> int:
    """Bytes of so many weights with quantised scales: half a byte each, one a scale, 4 a scale of scales.

    >>> packed_bytes(1 << 20) / (1 << 20)
    0.515869140625
    """
    scales = -(-weights // BLOCK)
    return -(-weights // 2) + scales + 4 * -(-scales // NESTED_BLOCK)


def elements(parameter: torch.Tensor) -> int:
    """Number of weights in a parameter, two of which share a byte in 4 bits.

    >>> import torch
    >>> elements(torch.zeros(3, 4))
    12
    """
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)
