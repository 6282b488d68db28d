"""The best models of every size that a search hands over, and how much of what could be had they are."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats

REFERENCE = 1.1
"""Corner of the hypervolume, in ranges of the pool above the least: the worst of each counts, too."""


def unbeaten(size: Floats, loss: Floats) -> np.ndarray:
    """Positions of the candidates that no smaller or equal one beats, by size; those of unknown loss are left out."""
    order = np.lexsort((loss, size))
    order = order[np.isfinite(loss[order])]
    before = np.concatenate([[np.inf], np.minimum.accumulate(loss[order])[:-1]])
    return np.asarray(order[loss[order] < before])


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
    """Of the area between the chosen points and the corner; a later one counts where it is better than all before."""
    order = chosen[np.argsort(x[chosen], kind="stable")]
    ends = np.append(x[order][1:], REFERENCE)
    best = np.minimum.accumulate(y[order])
    return float(((ends - x[order]) * (REFERENCE - best)).sum())
