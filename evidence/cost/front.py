"""The best models of every size that a search hands over, and how much of what could be had they are."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.planning.pareto import front

REFERENCE = 1.1
"""Corner of the hypervolume, in ranges of the pool above the least: the worst of each counts, too."""


def unbeaten(size: Floats, loss: Floats) -> np.ndarray:
    """Positions of the candidates on the front of size and loss, by size; those of unknown loss are left out."""
    known = np.flatnonzero(np.isfinite(loss))
    best = known[front(list(zip(size[known], loss[known], strict=True)))]
    return np.asarray(best[np.argsort(size[best], kind="stable")])


def front_share(size: Floats, believed: Floats, loss: Floats) -> float:
    """Hypervolume of what is handed over, in percent of the true front's.

    Handed over are the candidates that are unbeaten by what a search believes; they count with their true losses.
    The volume is that of log size and loss, both to be small, each over its range in the pool, up to `REFERENCE`.

    Args:
        size: parameters of each candidate, shape (K,).
        believed: losses on all the data as the search has them, NaN where it has none, shape (K,).
        loss: true losses on all the data, shape (K,).
    """
    x = _ranged(np.log(size))
    y = _ranged(loss)
    return 100 * _volume(x, y, unbeaten(size, believed)) / _volume(x, y, unbeaten(size, loss))


def _ranged(values: Floats) -> Floats:
    return np.asarray((values - values.min()) / (np.ptp(values) or 1.0))


def _volume(x: Floats, y: Floats, chosen: np.ndarray) -> float:
    """Of the area between the chosen points, by x, and the corner; a later one counts where it beats all before."""
    ends = np.append(x[chosen][1:], REFERENCE)
    best = np.minimum.accumulate(y[chosen])
    return float(((ends - x[chosen]) * (REFERENCE - best)).sum())
