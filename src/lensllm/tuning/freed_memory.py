"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Drop what nothing refers to, and hand the C library's free memory back (glibc's `malloc_trim`; else nothing).

    glibc keeps what tensors of ever other lengths leave behind, several times what is in use after a few learning
    rates (docs/methods.md has what it brings).
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
