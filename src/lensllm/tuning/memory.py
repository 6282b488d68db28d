"""Memory that runs out, and memory that goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import PreTrainedModel


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory does not suffice, whatever device it comes from."""
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def set_gradient_checkpointing(model: PreTrainedModel, on: bool) -> None:
    """Switch what transformers calls activation checkpointing from 5.20 on; without the old reentrant form, which needs
    an input with a gradient."""
    verb, options = ("enable", [{"use_reentrant": False}]) if on else ("disable", [])
    newer = getattr(model, f"activation_checkpointing_{verb}", None)
    (newer or getattr(model, f"gradient_checkpointing_{verb}"))(*options)


def give_back() -> None:
    """Drop what nothing refers to, and hand free memory back: the device's, and the C library's (`malloc_trim`).

    glibc keeps what tensors of ever other lengths leave behind, several times what is in use after a few learning
    rates (docs/methods.md has what it brings).
    """
    gc.collect()
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        torch.get_device_module(accelerator).empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
