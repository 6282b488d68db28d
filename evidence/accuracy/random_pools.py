"""Random pools of candidates: choosing among some of them is another case of the same task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_subsets(candidates: int, size: int, count: int, seed: int) -> list[NDArray[np.int_]]:
    """Sorted positions of `count` random subsets of so many candidates."""
    rng = np.random.default_rng(seed)
    return [np.sort(rng.choice(candidates, size, replace=False)) for _ in range(count)]
