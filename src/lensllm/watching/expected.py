"""What a selection lets one expect of a run elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from lensllm.errors import InputError
from lensllm.selection import LEVEL, Selection


@dataclass(frozen=True)
class Expected:
    """Of one candidate at one number of training examples; losses in nats a byte.

    Attributes:
        candidate: its name.
        examples: number of training examples.
        forecast: of the loss at the end.
        low: lower end of its 90 % interval.
        high: upper end.
        zero_shot: loss of the model as it came; NaN where it was not measured.
        zero_shot_error: standard error of that; NaN where unknown.
        bytes_a_token: of the test examples' completions; NaN where unknown.
        learning_rate: the peak that was found at the largest rung; NaN where unknown.

    >>> Expected("llama lora r16", 800, forecast=1.4, low=1.3, high=1.5).zero_shot
    nan
    """

    candidate: str
    examples: int
    forecast: float
    low: float
    high: float
    zero_shot: float = math.nan
    zero_shot_error: float = math.nan
    bytes_a_token: float = math.nan
    learning_rate: float = math.nan

    @classmethod
    def of(cls, selection: Selection, candidate: str = "", examples: int = 0) -> Self:
        """From a selection.

        Args:
            selection: with its forecast.
            candidate: its name; "" for the best.
            examples: number of training examples; 0 for all that the selection was for.

        Raises:
            InputError: if there is no such candidate, or it is not fine-tuned, so that there is no run to watch.
        """
        name, size = candidate or selection.best, examples or selection.target_size
        row = next((row for row in selection.ranking if row.candidate == name), None)
        if row is None:
            known = ", ".join(row.candidate for row in selection.ranking)
            raise InputError(f"the selection has no candidate {name!r}: it has {known}")
        if row.method == "none":
            raise InputError(f"{name} is used as it is, so there is no run of it: name another with --candidate")
        if size == selection.target_size:
            mean, (low, high) = row.forecast, row.interval
        else:
            made = selection.forecast_at(size).of([name])
            mean, (low, high) = float(made.mean[0]), made.interval(LEVEL)[0].tolist()
        cost = selection.costs.get(name)
        return cls(
            name,
            size,
            mean,
            low,
            high,
            *_zero_shot(selection, name),
            cost.flops_per_byte and cost.flops_per_token / cost.flops_per_byte if cost else math.nan,
            selection.provenance.candidate(name).learning_rate if selection.provenance else math.nan,
        )


def _zero_shot(selection: Selection, name: str) -> tuple[float, float]:
    curves = selection.curves.of([name])
    if 0 not in curves.sizes:
        return math.nan, math.nan
    at = int(np.flatnonzero(curves.sizes == 0)[0])
    return float(curves.losses[0, at]), float(curves.standard_errors[0, at])
