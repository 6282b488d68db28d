"""Curves of scores as curves of odds: what selectors forecast in the place of losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lensllm.curves import Curves
from lensllm.objectives import Between


def odds_of(scores: Curves, objective: Between) -> Curves:
    """The curves that selectors forecast: odds of falling short, their standard errors beside them.

    >>> odds_of(Curves(("a",), [50, 100], [[0.5, 0.75]]), Between("accuracy")).losses.round(2).tolist()
    [[1.0, 0.33]]
    """
    odds, errors = objective.to_loss(scores.losses, scores.standard_errors)
    known = np.isfinite(scores.losses)
    losses, errors = (np.where(known, values, np.nan) for values in (odds, errors))
    return replace(scores, losses=losses, standard_errors=errors, ceiling=float("inf"))
