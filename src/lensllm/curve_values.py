"""What tables of losses and tables of scores share: each cell is read right or refused with its row and column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lensllm.arrays import Floats
from lensllm.curve_numbers import DECIMAL_COMMA, is_ambiguous_size, number_of, size_of
from lensllm.errors import InputError
from lensllm.text import counted, shortened

CHANGE = 1.01
"""Factor from a candidate's first value to its last from which on it is said to rise or to fall."""
MOSTLY = 0.8
"""Part of the candidates that are said to be most of them."""
FEW = 5
"""Candidates below which two values of each tell nothing."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: without the spaces round it.
        path: of the file.
        row: as a spreadsheet counts.
        column: its header.
        decimal_comma: whether `0,75` is read as a number.
    """

    text: str
    path: Path
    row: int
    column: str
    decimal_comma: bool = False

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.path} row {self.row}: {self.column!r}"

    @property
    def told(self) -> str:
        """Where it stands and what it says."""
        return f"{self.place} is {shortened(self.text, 40)!r}"

    @property
    def number(self) -> float:
        """NaN where nothing stands; infinity as it is.

        Raises:
            InputError: if it is no number.
        """
        value = number_of(self.text, self.decimal_comma)
        if value is None and DECIMAL_COMMA.fullmatch(self.text):
            raise InputError(f"{self.told}: write a decimal point")
        if value is None:
            raise InputError(f"{self.told}, expected a number")
        return value

    @property
    def size(self) -> float:
        """A number of examples.

        Raises:
            InputError: of anything else.
        """
        if is_ambiguous_size(self.text) and self.decimal_comma:
            raise InputError(f"{self.told}, which may be {self.text.replace('.', '')}: write it without points")
        value = size_of(self.text)
        if value is None and number_of(self.text) is not None:
            raise InputError(f"{self.told}: sizes must be numbers of examples, 0 or more and whole")
        if value is None:
            raise InputError(f"{self.told}, expected a number")
        return value


class Values(ABC):
    """What the values of a table are.

    Attributes:
        name: of one of them, and of the column that a tidy table has them in.
        plural: of several.
    """

    name: ClassVar[str]
    plural: ClassVar[str]

    def column(self, path: Path, header: Mapping[str, str], texts: Callable[[str], list[str]]) -> str | None:
        """The column of a tidy table that they stand in; None if there is none.

        Args:
            path: of the file.
            header: names of columns as they are written, by their small letters.
            texts: the cells of a column.

        Raises:
            InputError: if two columns may be meant.
        """
        return header.get(self.name)

    @abstractmethod
    def value(self, cell: Cell) -> float:
        """What is measured: NaN for nothing, infinity for a run that diverged.

        Raises:
            InputError: naming row and column of what cannot be such a value.
        """

    def error(self, cell: Cell) -> float:
        """A standard error, NaN for none.

        Raises:
            InputError: naming row and column of anything else.
        """
        if not (value := cell.number) < 0:
            return value
        raise InputError(f"{cell.told}, expected a number, 0 or more")

    @abstractmethod
    def contradict(self, values: Sequence[float]) -> bool:
        """Whether values of one point are too far apart for two measurements that nothing tells apart."""

    @abstractmethod
    def apart(self, values: Sequence[float]) -> str:
        """How far apart they are, in words."""

    @abstractmethod
    def check_metric(self, path: Path, metric: str) -> None:
        """Refuse a metric that runs the other way."""

    @abstractmethod
    def check_direction(self, path: Path, candidates: Sequence[str], sizes: Floats, values: Floats) -> list[str]:
        """What is to be said of values that run the other way with more data."""

    def notes(self, texts: Sequence[str]) -> list[str]:
        """How cells were read that may be read in two ways."""
        return []


def mostly(
    changes: Callable[[float, float], bool], candidates: Sequence[str], sizes: Floats, values: Floats, verb: str
) -> str:
    """How many candidates change so with the data, with the first of them; empty if those are not most.

    Most are four in five candidates that were measured at three sizes or more; of those at two, if there are five or
    more. Each has to change from its first value to its last, and in most steps between.
    """
    tuned = np.asarray(sizes) > 0
    measured = np.isfinite(values[:, tuned]).sum(axis=1)
    least = 3 if np.any(measured >= 3) else 2
    if least == 2 and np.sum(measured == 2) < FEW:
        return ""
    changing, told, judged = 0, "", 0
    for name, row in zip(candidates, values[:, tuned], strict=True):
        seen = np.flatnonzero(np.isfinite(row))
        if len(seen) < least:
            continue
        judged += 1
        first, last = row[seen[0]], row[seen[-1]]
        steps = np.sign(np.diff(row[seen])) == np.sign(last - first)
        if changes(first, last) and np.sum(steps) > len(steps) / 2:
            changing += 1
            at = np.asarray(sizes)[tuned][seen]
            told = told or f"{name}: {first:g} at {at[0]:,.0f}, {last:g} at {at[-1]:,.0f}"
    if not judged or changing < MOSTLY * judged:
        return ""
    return f"the values of {changing} of {counted(judged, 'candidate')} {verb} with the data ({told})"
