"""Large tensors that leave nothing behind when they are freed."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD = -3
LARGE = 1 << 18
FROM = 50_000_000
"""Parameters from which on it is worth it: pages that come and go cost a model of 0.2 to 3 M a tenth of its time."""


def map_large_tensors(parameters: int) -> None:
    """From here on glibc gives tensors of 256 KiB or more pages of their own, which go back to the system at once.

    By default it raises that size to 32 MiB as it sees larger ones freed, and keeps what they leave between smaller
    ones: training then takes up to 1.6 times what its tensors hold (docs/check.md). Nothing elsewhere than on Linux
    with glibc, and for models of fewer than `FROM` parameters.
    """
    if parameters >= FROM and sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE)
