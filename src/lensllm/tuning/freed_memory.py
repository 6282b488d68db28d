"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Drop what nothing refers to, and hand the C library's free memory back (glibc's `malloc_trim`; else nothing).

    glibc keeps what tensors of ever other lengths leave behind: of 4.3 GiB that a process held after three trials of a
    model of 135 M parameters, 0.7 were in use.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
