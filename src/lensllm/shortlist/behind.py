"""Which models are surely behind, from losses on the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lensllm.tuning.run import Run

SURELY = 2.0
"""Standard errors of a difference: one sided, a normal is beyond them once in 44 times."""


def surely_behind(runs: Mapping[str, Run], n_bytes: Sequence[int], places: int) -> dict[str, str]:
    """Models that cannot be among the best `places` by loss, as so many others are surely ahead of them.

    One is surely ahead of another if its loss is lower by more than `SURELY` standard errors of the difference. Losses
    a and b of the same n examples of s_i bytes are compared example by example: with d = (sum a - sum b) / S and
    S = sum s, the standard error is sqrt(sum (a_i - b_i - d s_i)^2) / S, that of a ratio estimator. What makes an
    example hard for every model is in no difference. Where a run does not tell its losses by example the two standard
    errors stand for it, as if they were independent: more than the paired one, so that less is dropped.

    Dropping all that are behind the *best* would leave the loss alone to choose; a model goes only once all places
    would be taken by others.

    Args:
        runs: model -> its run on the same test examples.
        n_bytes: of each example.
        places: how many may be ahead.

    Returns:
        Model -> why it is dropped.
    """
    found = {}
    for name, run in runs.items():
        ahead = [other for other, its in runs.items() if other != name and _ahead(its, run, n_bytes)]
        if len(ahead) >= places:
            best = min(ahead, key=lambda other: runs[other].nats_per_byte)
            gap, error = difference(run, runs[best], n_bytes)
            found[name] = (
                f"its loss of {run.nats_per_byte:.3f} nats/byte is surely behind that of {len(ahead)} others "
                f"(behind {best} by {gap:.3f}, standard error {error:.3f})"
            )
    return found


def _ahead(one: Run, other: Run, n_bytes: Sequence[int]) -> bool:
    gap, error = difference(other, one, n_bytes)
    return gap > SURELY * error


def difference(a: Run, b: Run, n_bytes: Sequence[int]) -> tuple[float, float]:
    """By how much the loss of `a` is above that of `b`, nats a byte, and its standard error.

    >>> a = Run("a", 0, "done", nats_per_byte=1.2, standard_error=0.3, test_nats=[10.0, 2.0])
    >>> b = Run("b", 0, "done", nats_per_byte=1.0, standard_error=0.3, test_nats=[9.0, 1.0])
    >>> gap, error = difference(a, b, [5, 5])
    >>> round(gap, 6), round(error, 6)
    (0.2, 0.0)
    """
    gap = a.nats_per_byte - b.nats_per_byte
    if not len(a.test_nats) == len(b.test_nats) == len(n_bytes):
        return gap, float(np.hypot(a.standard_error, b.standard_error))
    sizes = np.asarray(n_bytes, dtype=float)
    residuals = np.subtract(a.test_nats, b.test_nats) - gap * sizes
    return gap, float(np.sqrt(np.square(residuals).sum()) / sizes.sum())
