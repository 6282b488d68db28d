"""A second forecast of a score, from that of the loss by the link between both: measured, not the default."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats

PERSISTS = 0.8
"""Part of a candidate's distance from the link that stays: chosen on the design half of the public score curves."""
LEAST_READINGS = 4
"""Below there is no link: a line has two parameters, and twice as many readings leave some to doubt it by."""


def linked(y: Floats, error: Floats, losses: Floats, ahead: Floats) -> Floats:
    """Forecasts of y from those of the log losses, shape (S, K); NaN where there is no link.

    Over all readings of all candidates y = a + b l is fitted by least squares with weights 1 / error^2, b at least 0:
    what falls in loss does not fall in score. A candidate keeps 0.8 of its mean distance from that line.

    Args:
        y: log odds of a wrong answer, shape (K, M), NaN where there is no reading.
        error: standard errors of the same, above 0.
        losses: log losses of the same runs, shape (K, M).
        ahead: log losses forecast, shape (S, K).

    >>> losses = np.log([[2.0, 1.5, 1.2], [1.8, 1.4, 1.1]])
    >>> linked(2 * losses + 0.1, np.full((2, 3), 0.1), losses, np.log([[1.0, 0.9]])).round(2).tolist()
    [[0.1, -0.11]]
    """
    seen = np.isfinite(y) & np.isfinite(losses)
    if seen.sum() < LEAST_READINGS or np.ptp(losses[seen]) == 0:
        return np.full(ahead.shape, np.nan)
    weights = np.where(seen, 1 / error**2, 0.0)
    x, z = np.where(seen, losses, 0.0), np.where(seen, y, 0.0)
    middle = np.array([(weights * x).sum(), (weights * z).sum()]) / weights.sum()
    moved = np.where(seen, x - middle[0], 0.0)
    slope = max(float((weights * moved * (z - middle[1])).sum() / (weights * moved**2).sum()), 0.0)
    rest = np.where(seen, z - middle[1] - slope * moved, 0.0)
    own = (weights * rest).sum(axis=1) / np.maximum(weights.sum(axis=1), np.finfo(float).tiny)
    return np.asarray(middle[1] + slope * (ahead - middle[0]) + PERSISTS * own)
