"""The hand-made error model that the networks are judged beside: the slopes, with three corrections written by hand."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.selectors import GrowingSlopes, SubTuning

DEGREES = 2.0
"""Own errors of the slopes, in their scale, are a Student's t with about so many degrees of freedom,"""
NARROWER = 0.5
"""and half as wide as the slopes say: too modest where forecast and last loss agree, too sure where they do not."""
SECOND_WORLD = 0.25
"""Part of the draws in which nothing changes places: the last losses keep their order."""
SEED = 0


def hand_made(seen: Curves, target: float) -> tuple[Floats, Floats]:
    """Log losses at the target, shape (K,), and log samples of them, shape (draws, K).

    A draw is the slopes' common error and an own one t_2 s / 2, s the standard deviation of the slopes' own errors,
    around the slopes' forecast; in a quarter of the draws around the last losses, moved alike by the mean movement.
    Half of P(best) comes from these samples and half from a softmax of the last losses (`forecasters.summary`).
    """
    made = GrowingSlopes().forecast(seen, target)
    mean = np.log(made.mean)
    errors = np.log(made.samples) - mean
    common = np.median(errors, axis=1, keepdims=True)
    scale = (errors - common).std(axis=0)
    draw = np.random.default_rng(SEED)
    own = NARROWER * scale * draw.standard_t(DEGREES, errors.shape)
    last = np.log(SubTuning().forecast(seen, target).mean)
    unmoved = draw.random((len(errors), 1)) < SECOND_WORLD
    around = np.where(unmoved, last + (mean - last).mean(), mean)
    return mean, around + common + own
