"""Forecasts and whether they came true: a table beside each selection, on this machine alone."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lensllm.curve_tables import written_name
from lensllm.errors import InputError
from lensllm.files import append_text
from lensllm.text import counted, shortened, visible

HISTORY = "history.csv"
DEEPEST = 2
"""Folders within folders that are looked through."""


@dataclass(frozen=True)
class HistoryRow:
    """One forecast and what became of it.

    Attributes:
        date: of the training, ISO 8601, UTC.
        task: its name.
        candidate: its name.
        method: how it was tuned.
        examples: that it was trained on.
        measure: `loss` in nats a byte, or the name of a score.
        forecast: of it; None where there was none.
        low: lower end of the 90 % interval.
        high: upper end.
        reached: measured on the test.
        folder: of the model.
    """

    date: str
    task: str
    candidate: str
    method: str
    examples: int
    measure: str
    forecast: float | None
    low: float | None
    high: float | None
    reached: float
    folder: str

    @property
    def inside(self) -> bool | None:
        """Whether it came true; None without a forecast."""
        return None if self.low is None or self.high is None else self.low <= self.reached <= self.high


COLUMNS = tuple(one.name for one in fields(HistoryRow))
TEXTS = ("date", "task", "candidate", "method", "measure", "folder")


def append(folder: Path, rows: Iterable[HistoryRow]) -> None:
    """Add rows to a folder's `history.csv`; what stands there stays.

    Raises:
        InputError: if it cannot be written.
    """
    path = folder / HISTORY
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    for row in rows:
        told = asdict(row)
        writer.writerow({name: written_name(visible(told[name])) if name in TEXTS else told[name] for name in COLUMNS})
    append_text(path, written.getvalue())


def read(folder: Path) -> list[HistoryRow]:
    """The rows of a folder's `history.csv`; none where there is none.

    Raises:
        InputError: naming the row that cannot be read.
    """
    path = folder / HISTORY
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {shortened(' '.join(str(error).split()), 120)}") from error
    return [_row(path, number, row) for number, row in enumerate(rows, start=2)]


def _row(path: Path, number: int, row: dict[str, str | None]) -> HistoryRow:
    given = {name: row.get(name) for name in COLUMNS}
    known = {name: None if value == "" and name not in TEXTS else value for name, value in given.items()}
    try:
        found = TypeAdapter(HistoryRow).validate_python(known)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path} line {number}: {first['loc'][0]}: {first['msg'].lower()}") from error
    if not all(math.isfinite(value) for value in (found.reached, found.low or 0.0, found.high or 0.0)):
        raise InputError(f"{path} line {number}: expected finite numbers")
    return found


def read_all(folders: Sequence[Path]) -> list[HistoryRow]:
    """The rows of all selections in some folders, or in folders inside these, in the order of their dates.

    Raises:
        InputError: for a folder that is none, or as `read`.
    """
    found: dict[Path, list[HistoryRow]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"no such folder: {folder}")
        levels = ["/".join(["*"] * depth + [HISTORY]) for depth in range(DEEPEST + 1)]
        for path in sorted({path for level in levels for path in folder.glob(level)}):
            found.setdefault(path.resolve(), read(path.parent))
    return sorted((row for rows in found.values() for row in rows), key=lambda row: row.date)


def sentence(rows: Sequence[HistoryRow]) -> str:
    """How many forecasts came true.

    >>> row = HistoryRow("2026-11-26", "t", "a", "full", 800, "loss", 1.4, 1.3, 1.5, 1.42, "out/a")
    >>> sentence([row, row])
    '2 of 2 forecasts came true: what was reached lay in their 90 % interval.'
    """
    known = [row for row in rows if row.inside is not None]
    if not known:
        return f"{counted(len(rows), 'training')}, none with a forecast."
    came = sum(bool(row.inside) for row in known)
    return f"{came} of {counted(len(known), 'forecast')} came true: what was reached lay in their 90 % interval."
