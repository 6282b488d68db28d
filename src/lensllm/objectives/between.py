"""An objective that has a floor and a ceiling, such as every score has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from lensllm.arrays import Floats
from lensllm.errors import InputError
from lensllm.objectives.base import Objective
from lensllm.tuning.run import Run

EDGE = 1e-3
"""Part of the range: values nearer to floor or ceiling are taken to be so far from it on the scale."""
UNKNOWN_ERROR = 0.02
"""Part of the range, where no standard error is known: that of a share of one half over 600 test examples."""


@dataclass
class Between(Objective):
    """A value between floor and ceiling, read off no run.

    Its scale is the log odds log(p / (1 - p)) of the part p of the way from floor to ceiling; what is forecast are the
    odds of falling short of the ceiling, (1 - p) / p, or p / (1 - p) where less is better. A reading nearer to an end
    than its own standard error is taken to be that far from it, so that 0 of 271 is a low score and not minus infinity.

    Attributes:
        name: how it is called in tables.
        unit: what it is, in words.
        floor: the lowest value there is.
        ceiling: the highest.
        greater_is_better: whether a larger value is the better one.

    Raises:
        InputError: if the floor is not below the ceiling.

    >>> score = Between("accuracy", floor=0.0, ceiling=100.0)
    >>> odds, errors = score.to_loss(np.array([75.0, 0.0]), np.array([3.0, 0.5]))
    >>> odds.round(2).tolist(), score.from_loss(odds).round(1).tolist()
    ([0.33, 199.0], [75.0, 0.5])
    """

    name: str
    unit: str = ""
    floor: float = 0.0
    ceiling: float = 1.0
    greater_is_better: bool = True

    def __post_init__(self) -> None:
        if not self.floor < self.ceiling:
            raise InputError(f"{self.name}: the floor {self.floor:g} is not below the ceiling {self.ceiling:g}")

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows; an end that is not known is null."""
        ends = {name: getattr(self, name) for name in ("floor", "ceiling")}
        known = {name: end if math.isfinite(end) else None for name, end in ends.items()}
        return {"name": self.name, "unit": self.unit, **known, "greater_is_better": self.greater_is_better}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Between:
        """What `to_dict` gave.

        Raises:
            LookupError, TypeError, ValueError: if something is missing or has a value of another type.
        """
        floor = -math.inf if fields["floor"] is None else float(fields["floor"])
        ceiling = math.inf if fields["ceiling"] is None else float(fields["ceiling"])
        return Between(str(fields["name"]), str(fields["unit"]), floor, ceiling, bool(fields["greater_is_better"]))

    def read(self, run: Run) -> tuple[float, float]:
        """Nothing."""
        return math.nan, math.nan

    @property
    def bounded(self) -> bool:
        """Whether both ends are known, without which nothing is forecast."""
        return math.isfinite(self.ceiling - self.floor)

    def to_scale(self, values: Floats) -> Floats:
        """log(p / (1 - p)) of the part p of the way from floor to ceiling; the value itself if one is infinite."""
        if not self.bounded:
            return np.asarray(values, dtype=float)
        part = np.clip((np.asarray(values) - self.floor) / (self.ceiling - self.floor), EDGE, 1 - EDGE)
        return np.asarray(np.log(part / (1 - part)))

    def from_scale(self, values: Floats) -> Floats:
        """The value at a place of the scale."""
        if not self.bounded:
            return np.asarray(values, dtype=float)
        return np.asarray(self.floor + (self.ceiling - self.floor) * expit(np.asarray(values, dtype=float)))

    def to_loss(self, values: Floats, errors: Floats) -> tuple[Floats, Floats]:
        """The odds of falling short, and their standard errors by the delta method: s / (p (1 - p)) of the odds."""
        width = self.ceiling - self.floor
        error = np.nan_to_num(np.asarray(errors, dtype=float) / width, nan=UNKNOWN_ERROR)
        edge = np.clip(error, EDGE, 0.5)
        part = np.clip((np.asarray(values, dtype=float) - self.floor) / width, edge, 1 - edge)
        odds = (1 - part) / part if self.greater_is_better else part / (1 - part)
        return odds, odds * error / (part * (1 - part))

    def from_loss(self, losses: Floats) -> Floats:
        """The value whose odds of falling short these are."""
        logs = np.log(np.asarray(losses, dtype=float))
        return self.from_scale(-logs if self.greater_is_better else logs)

    def regret(self, chosen: Floats, best: Floats) -> Floats:
        """The difference of the values, as a part of the range."""
        return np.abs(self.from_loss(chosen) - self.from_loss(best)) / (self.ceiling - self.floor)

    def format(self, value: float) -> str:
        """Three decimals and the name."""
        return f"{value:.3f} {self.name}"
