"""Kinds of pools: what differs between fine-tuned texts, labels, error rates and models trained from scratch.

Ranges were chosen by the statistics of design sets alone, never by how well forecasts come out
(`python -m evidence prior-pools` prints both side by side).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, logit

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """Ranges and chances of one kind; a range is drawn evenly in the logarithm.

    Attributes:
        name: how it is called.
        known_as: position in `KIND_INPUTS` of what the network is given of it.
        share: of the prior.
        slope: fall of the log loss a doubling at the first size.
        growth: of that slope a doubling, as a part of it, and how it differs between pools.
        growth_sd: how that differs between pools.
        lawful: chance that a pool obeys the law; else slopes drift.
        power: exponent b of the law.
        floor: part of the loss that no data take away.
        steepening: chance of a pool whose falls become steeper.
        flattening: chance of one whose falls flatten.
        own_slope: how candidates' slopes differ, as a part of the pool's, for good.
        own_wander: and how that changes a doubling.
        dull: largest part of candidates that hardly learn.
        families: chance of two families in a pool.
        spread: standard deviation of the log losses at the first size.
        converging: chance that candidates come nearer to each other.
        convergence: by what part a doubling.
        form_learning: chance of a pool with candidates that have yet to learn the form of the task.
        over_fitting: chance of a pool with candidates whose losses rise.
        noise: standard deviation of a reading.
        odd_readings: chance of a pool with readings far off.

    Example:
        >>> KINDS[0].name, KINDS[0].slope
        ('fine_tuned', (0.01, 0.12))
    """

    name: str
    known_as: int
    share: float
    slope: Range
    growth: float
    growth_sd: float
    lawful: float
    power: Range
    floor: Range
    steepening: float
    flattening: float
    own_slope: Range
    own_wander: Range
    dull: float
    families: float
    spread: Range
    converging: float
    convergence: Range
    form_learning: float
    over_fitting: float
    noise: Range
    odd_readings: float


MOVED = (
    "slope", "growth", "lawful", "floor", "steepening", "flattening", "own_slope", "own_wander", "dull", "families",
    "spread", "converging", "convergence", "form_learning", "over_fitting", "noise",
)  # fmt: skip
"""Settings that two readers of the same statistics may write down differently."""
KIND_INPUTS = ("fine_tuned", "error_rates", "from_scratch")
"""What the network may be given of a pool: whether labels are learned it sees for itself."""

KINDS = (
    Kind(
        "fine_tuned", 0, 0.4, slope=(0.01, 0.12), growth=0.2, growth_sd=0.22, lawful=0.35, power=(0.15, 0.8),
        floor=(0.05, 0.7), steepening=0.55, flattening=0.12, own_slope=(0.1, 0.5), own_wander=(0.01, 0.2),
        dull=0.1, families=0.3, spread=(0.1, 0.5), converging=0.9, convergence=(0.08, 0.5),
        form_learning=0.1, over_fitting=0.05, noise=(0.0015, 0.015), odd_readings=0.2,
    ),
    Kind(
        "labels", 0, 0.15, slope=(0.01, 0.12), growth=0.15, growth_sd=0.22, lawful=0.3, power=(0.2, 1.0),
        floor=(0.1, 0.9), steepening=0.4, flattening=0.2, own_slope=(0.1, 0.6), own_wander=(0.03, 0.25),
        dull=0.15, families=0.25, spread=(0.04, 0.4), converging=0.85, convergence=(0.1, 0.6),
        form_learning=0.85, over_fitting=0.1, noise=(0.005, 0.05), odd_readings=0.2,
    ),
    Kind(
        "error_rates", 1, 0.25, slope=(0.01, 0.25), growth=-0.03, growth_sd=0.15, lawful=0.5, power=(0.3, 1.2),
        floor=(0.01, 0.9), steepening=0.35, flattening=0.4, own_slope=(0.2, 1.0), own_wander=(0.1, 0.8),
        dull=0.4, families=0.2, spread=(0.1, 1.0), converging=0.7, convergence=(0.03, 0.4),
        form_learning=0.15, over_fitting=0.1, noise=(0.004, 0.06), odd_readings=0.2,
    ),
    Kind(
        "from_scratch", 2, 0.2, slope=(0.03, 0.4), growth=-0.3, growth_sd=0.2, lawful=0.65, power=(0.3, 2.0),
        floor=(0.3, 0.95), steepening=0.08, flattening=0.6, own_slope=(0.05, 0.5), own_wander=(0.005, 0.15),
        dull=0.0, families=0.2, spread=(0.004, 0.4), converging=0.5, convergence=(0.03, 0.4),
        form_learning=0.02, over_fitting=0.15, noise=(0.0005, 0.01), odd_readings=0.2,
    ),
)  # fmt: skip
"""Of what the prior is made."""


def varied(rng: np.random.Generator) -> tuple[Kind, ...]:
    """The kinds as another reader of the same statistics might have written them.

    Ranges are moved by a factor of about 1.3, chances by about 0.5 on the scale of log odds. Networks that are fitted
    to several of these and averaged hold what is uncertain of the prior itself.

    Example:
        >>> [kind.name for kind in varied(np.random.default_rng(0))] == [kind.name for kind in KINDS]
        True
    """
    moved: list[dict[str, Any]] = [{name: _moved(kind, name, rng) for name in MOVED} for kind in KINDS]
    return tuple(replace(kind, **changes) for kind, changes in zip(KINDS, moved, strict=True))


def _moved(kind: Kind, name: str, rng: np.random.Generator) -> Range | float:
    value, by = getattr(kind, name), rng.standard_normal()
    if isinstance(value, tuple):
        return (value[0] * 1.3**by, value[1] * 1.3**by)
    if name == "growth":
        return float(value + 0.05 * by)
    return float(expit(logit(np.clip(value, 0.01, 0.99)) + 0.5 * by))
