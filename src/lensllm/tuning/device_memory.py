"""Where runs are trained, and how much memory there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
FIRST_USE = 96 << 20
"""Bytes of code and kernels that are loaded when they are first used: 26 MiB were seen in float32, 93 in bfloat16."""


@dataclass(frozen=True)
class DeviceMemory:
    """A device that runs are trained on.

    Attributes:
        kind: `cpu`, `cuda`, `mps` or `xpu`.
        free: bytes that tensors can still take; on the CPU what this process has is no part of it.
        process: bytes that a process has beside its tensors: those of this one, measured, and `FIRST_USE`; 0 where
            tensors lie in a memory of their own.
    """

    kind: str
    free: int
    process: int


def device_memory() -> DeviceMemory:
    """What there is now: the first accelerator that torch knows, or else the machine's memory."""
    from lensllm.tuning.device import device

    kind = device().type
    return DeviceMemory(kind, free_bytes(kind), _process() if kind == "cpu" else 0)


def free_bytes(kind: str) -> int:
    """What tensors can still take on a device of this kind."""
    if kind == "cpu":
        return _machine()
    import torch

    module: Any = torch.get_device_module(kind)
    if hasattr(module, "mem_get_info"):
        return int(module.mem_get_info()[0])
    return int(module.recommended_max_memory() - module.driver_allocated_memory())


def _machine() -> int:
    """What the machine can give, or the container that this is in."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = int((CGROUP / "memory.max").read_text())
        return min(free, limit - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return free


def _process() -> int:
    import psutil
    import transformers  # noqa: F401

    return int(psutil.Process(os.getpid()).memory_info().rss) + FIRST_USE
