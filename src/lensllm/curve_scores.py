"""Values of a table that are scores between a floor and a ceiling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lensllm.arrays import Floats
from lensllm.curve_numbers import number_of
from lensllm.curve_values import CHANGE, Cell, Values, mostly
from lensllm.errors import InputError

LOSSES = frozenset({"loss", "eval_loss", "test_loss", "perplexity", "ppl", "nll", "error", "error_rate", "wer", "cer"})
"""Names of metrics of which less is better."""
APART = 0.2
"""Part of the range by which scores of one point, with no seed to tell them apart, contradict: ten times the error that
is taken where none is given."""


@dataclass(frozen=True)
class Scores(Values):
    """Numbers between a floor and a ceiling of which more is better. `61%` is 0.61 under a ceiling of 1, 61 under 100.

    Attributes:
        floor: the lowest there is.
        ceiling: the highest.
    """

    floor: float = 0.0
    ceiling: float = 1.0

    name, plural = "score", "scores"

    def column(self, path: Path, header: Mapping[str, str], texts: Callable[[str], list[str]]) -> str | None:
        """`score` or `value`; where both are there and `score` holds names of scores, it is `value`.

        Raises:
            InputError: if both hold numbers.
        """
        score, value = (header.get(name) for name in ("score", "value"))
        if score is None or value is None:
            return score or value
        if any(number_of(text.removesuffix("%"), True) is not None for text in texts(score)):
            raise InputError(f"{path}: both {score!r} and {value!r} hold numbers: leave out what is not to be read")
        return value

    def value(self, cell: Cell) -> float:
        """A score, NaN if none was measured.

        Raises:
            InputError: naming row and column of what is no number, or none between floor and ceiling.
        """
        value = self._number(cell)
        if not math.isnan(value) and not self.floor <= value <= self.ceiling:
            raise InputError(
                f"{cell.path} row {cell.row}: the score {cell.text} is not between {self.floor:g} and "
                f"{self.ceiling:g} (column {cell.column!r}): give --floor and --ceiling, 0 and 100 for percentages"
            )
        return value

    def error(self, cell: Cell) -> float:
        """A standard error in the unit of the scores, NaN for none.

        Raises:
            InputError: naming row and column of what is no number, below 0, or larger than the range of the scores.
        """
        value, width = self._number(cell), self.ceiling - self.floor
        if value < 0 or value > width:
            raise InputError(f"{cell.told}, expected a number from 0 to {width:g}, in the unit of the scores")
        return value

    def _number(self, cell: Cell) -> float:
        if not cell.text.endswith("%"):
            return cell.number
        if self.ceiling not in (1.0, 100.0):
            raise InputError(f"{cell.told}: percentages are read under a --ceiling of 1 or 100, not {self.ceiling:g}")
        return replace(cell, text=cell.text[:-1].rstrip()).number * self.ceiling / 100

    def contradict(self, values: Sequence[float]) -> bool:
        """More than a fifth of the range apart."""
        return max(values) - min(values) > APART * (self.ceiling - self.floor)

    def apart(self, values: Sequence[float]) -> str:
        """The difference."""
        return f"{max(values) - min(values):.3g} apart"

    def check_metric(self, path: Path, metric: str) -> None:
        """Refuse losses.

        Raises:
            InputError: naming the metric.
        """
        if metric.casefold() in LOSSES:
            raise InputError(f"{path} holds {metric!r}, of which less is better: leave --scores out for losses")

    def check_direction(self, path: Path, candidates: Sequence[str], sizes: Floats, values: Floats) -> list[str]:
        """A note on values that fall with the data: tuning can take a score away, so they are not refused."""
        told = mostly(lambda first, last: last * CHANGE < first, candidates, sizes, values, "fall")
        return [f"{told}: if these are losses or errors, of which less is better, leave --scores out"] if told else []

    def notes(self, texts: Sequence[str]) -> list[str]:
        """How percentages were read."""
        first = next((text for text in texts if text.endswith("%")), None)
        if first is None:
            return []
        read = self._number(Cell(first, Path(), 0, "", decimal_comma=True))
        return [f"percentages are read on the scale up to {self.ceiling:g}: {first} is {read:g}"]
