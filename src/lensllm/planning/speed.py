"""How fast a device is before anything was trained on it."""

from __future__ import annotations

import time
from functools import lru_cache

REACHED = 0.4
"""Part of the speed of a bare product that training reaches; docs/check.md has what was measured."""
SECONDS = 0.2
MOST_ROWS = 2048


@lru_cache
def estimated_speed(rows: int, width: int, dtype: str, device: str) -> float:
    """FLOPs a second that training is expected to reach: `REACHED` times those of a product as wide as the model.

    The fastest of the products made in `SECONDS` counts, and each width is measured once.

    Args:
        rows: tokens of a batch; up to `MOST_ROWS` are multiplied.
        width: of the model: (rows, width) is multiplied by (width, 4 width), as in its feed-forward layers.
        dtype: `float32` or `bfloat16`.
        device: kind of the device.

    >>> estimated_speed(64, 16, "float32", "cpu") > 0
    True
    """
    import torch

    rows = min(rows, MOST_ROWS)
    given = torch.ones(rows, width, dtype=getattr(torch, dtype), device=device)
    weight = torch.ones(width, 4 * width, dtype=given.dtype, device=device)
    _wait(device)
    (given @ weight).sum().item()
    started = ended = time.perf_counter()
    fastest = float("inf")
    while ended - started < SECONDS:
        before = ended
        _ = given @ weight
        _wait(device)
        ended = time.perf_counter()
        fastest = min(fastest, ended - before)
    return REACHED * 2 * rows * width * 4 * width / fastest


def _wait(device: str) -> None:
    import torch

    if device != "cpu":
        torch.accelerator.synchronize()
