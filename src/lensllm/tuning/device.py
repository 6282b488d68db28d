"""Where a model is trained, and what that can compute in."""

from __future__ import annotations

import platform
from typing import Any

import torch

from lensllm.tuning.training_config import Dtype

MACOS_WITH_BFLOAT16 = (14, 0)


def device() -> torch.device:
    """This machine's accelerator (cuda, mps, xpu, ...), or the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def device_told() -> str:
    """The device in words: its kind, and its name where it has one."""
    kind = device().type
    if kind == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({platform.machine()})" if kind == "cpu" else kind


def where() -> dict[str, Any]:
    """The option of `from_pretrained` for where a model lies: on the device, or over all that this process sees."""
    if not torch.accelerator.is_available():
        return {}
    return {"device_map": "balanced" if torch.accelerator.device_count() > 1 else device()}


def own_dtype() -> Dtype:
    """bfloat16 on accelerators that have it, and float32 on the CPU, where numbers are the same to the bit."""
    kind = device().type
    if kind == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "mps":
        has = torch.backends.mps.is_macos_or_newer(*MACOS_WITH_BFLOAT16)
    elif kind == "xpu":
        has = torch.xpu.is_bf16_supported()
    else:
        has = False
    return "bfloat16" if has else "float32"
