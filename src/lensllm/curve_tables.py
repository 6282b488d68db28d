"""Read a table of measured losses or scores right, or refuse it with row and column; write one that is safe to open."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lensllm.curve_losses import SCORES, Losses
from lensllm.curve_numbers import is_ambiguous_size, number_of, size_of
from lensllm.curve_scores import Scores
from lensllm.curve_values import Cell, Values
from lensllm.delimited import Delimited, open_delimited
from lensllm.errors import InputError
from lensllm.text import counted, listed, shortened, visible

NAME_COLUMNS = ("candidate", "model", "config name")
SIZE_COLUMNS = ("examples", "d", "n")
STANDARD_ERROR = "standard_error"
SEEDS = frozenset({"seed", "run", "trial", "repeat", "replicate", "fold", "subset_seed", "seed_id"})
SETTINGS = frozenset({"task", "dataset", "data", "split", "metric", "unit", "measure", "set", "benchmark", "language"})
BOOKKEEPING = frozenset(
    {"id", "run_id", "date", "time", "timestamp", "note", "notes", "comment", "path", "file", "host", "device", "gpu"}
    | {"commit", "status", "name"}
)
FORMULA = re.compile(r"'*[=+\-@\t\r]")


@dataclass
class CurveTable:
    """A table as it was read.

    Attributes:
        candidates: names in the order of the file.
        sizes: numbers of examples, ascending.
        losses: or scores, shape (K, S); NaN where nothing was measured.
        features: other columns, a row a candidate.
        notes: what was averaged, left out or not used.
        standard_errors: of the losses, shape (K, S), NaN where the table gives none; None without such a column.
    """

    candidates: list[str]
    sizes: list[float]
    losses: np.ndarray
    features: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    standard_errors: np.ndarray | None = None


@dataclass(frozen=True)
class _Point:
    candidate: str
    size: float
    loss: float
    row: int
    seed: tuple[str, ...]


def read_curve_table(path: Path, ours: bool = False) -> CurveTable:
    """Read a tidy table (candidate, examples, loss) or a wide one (a row a candidate, a column a size).

    Rows are counted as a spreadsheet does: the header is row 1.

    Args:
        path: of the file.
        ours: whether it was written by `select`, so that its values are losses even where they rise.

    Raises:
        InputError: if the file is missing or no table; or naming row and column of a value that cannot be what it
            stands for; or if its values contradict each other, or rise with the data as scores do.
    """
    made = table_of(open_delimited(path), path)
    if not ours:
        _check_direction(made, path, Losses())
    return made


def read_score_table(path: Path, scores: Scores, name: str = "") -> CurveTable:
    """Read a table of scores as `read_curve_table` reads losses: (candidate, examples, score), or wide.

    Args:
        path: of the file.
        scores: between what they lie.
        name: of the score to be read of those in a selection's `scores.csv`; empty for any other file.

    Raises:
        InputError: as `read_curve_table`, but that scores lie between floor and ceiling and may fall.
    """
    table = open_delimited(path)
    made = table_of(_of_one_score(table, path, name) if name else table, path, scores)
    if not name:
        _check_direction(made, path, scores)
    return made


def _of_one_score(table: Delimited, path: Path, name: str) -> Delimited:
    """What `select` wrote of one score on the test examples, with the columns that are read."""
    kept = ["candidate", "examples", "value", "standard_error"]
    if missing := [one for one in (*kept, "task", "score") if one not in table.header]:
        raise InputError(f"{path} has no column {missing[0]!r}: run the selection again to write it anew")
    place = {column: i for i, column in enumerate(table.header)}
    rows = [
        (number, [cells[place[column]] for column in kept])
        for number, cells in table.rows
        if len(cells) == len(table.header) and (cells[place["task"]], cells[place["score"]]) == ("test", name)
    ]
    return Delimited(kept, rows, table.delimiter, table.notes)


def _check_direction(made: CurveTable, path: Path, values: Values) -> None:
    made.notes += values.check_direction(path, made.candidates, np.array(made.sizes), made.losses)


def table_of(table: Delimited, path: Path, values: Values | None = None) -> CurveTable:
    """The values in a table of cells, whose columns are those of `read_curve_table`.

    Args:
        table: its cells.
        path: where they come from, for messages.
        values: what is measured, losses if None.

    Raises:
        InputError: as `read_curve_table`, but that whether values rise or fall is not looked at.
    """
    columns = {column.casefold(): column for column in reversed(table.header)}
    name = next((columns[column] for column in NAME_COLUMNS if column in columns), None)
    if name is None:
        raise InputError(f"{path} has no column 'candidate': its columns are {_shown(table.header)}")
    if not table.rows:
        raise InputError(f"{path} has no rows: give one row a measurement, or one a candidate")
    for number, cells in table.rows:
        if len(cells) < len(table.header):
            raise InputError(f"{path} row {number} has {len(cells)} cells, the header {len(table.header)}")
    size = next((columns[column] for column in SIZE_COLUMNS if column in columns), None)
    reader = _Reader(path, table, name, values or Losses())
    column = reader.values.column(path, columns, reader.column)
    for read in (name, *((size, column, columns.get(STANDARD_ERROR)) if size and column else ())):
        reader.check_spelled_once(read)
    made = reader.tidy(size, column) if size and column else reader.wide()
    made.notes[:0] = table.notes
    return made


@dataclass
class _Reader:
    path: Path
    table: Delimited
    name: str
    values: Values

    def check_spelled_once(self, column: str | None) -> None:
        """Refuse a second column of the same name in other letters: one of the two would not be read."""
        same = [one for one in self.table.header if column and one.casefold() == column.casefold()]
        if len(same) > 1:
            raise InputError(f"{self.path} has more than one column {_shown(same)}: leave out what is not to be read")

    def cells(self, column: str) -> list[Cell]:
        """The cells of a column, row by row."""
        comma = self.table.delimiter != ","
        texts = zip(self.column(column), self.numbers, strict=True)
        return [Cell(text, self.path, number, column, comma) for text, number in texts]

    def column(self, column: str) -> list[str]:
        place = self.table.header.index(column)
        return [cells[place].strip() for _, cells in self.table.rows]

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.table.rows]

    def names(self) -> list[str]:
        """Candidates by row, without the spaces round them."""
        names = [unicodedata.normalize("NFC", read_name(name)) for name in self.column(self.name)]
        for number, name in zip(self.numbers, names, strict=True):
            if not name:
                raise InputError(f"{self.path} row {number}: {self.name!r} is empty, expected a name")
        return names

    def tidy(self, size: str, value: str) -> CurveTable:
        """The table of one row a measurement."""
        names, numbers = self.names(), self.numbers
        sizes = [cell.size for cell in self.cells(size)]
        measured = [self.values.value(cell) for cell in self.cells(value)]
        header = self.table.header
        error = next((column for column in header if column.casefold() == STANDARD_ERROR), None)
        others = [column for column in header if column not in (self.name, size, value, error)]
        seeds = [column for column in others if column.casefold() in SEEDS]
        notes = self.values.notes(self.column(value))
        kept = self._features(names, sizes, [column for column in others if column not in seeds], notes)
        seed_rows = list(zip(*(self.column(column) for column in seeds), strict=True)) or [()] * len(names)
        points = [_Point(*row) for row in zip(names, sizes, measured, numbers, seed_rows, strict=True)]
        order = list(dict.fromkeys(names))
        wide = self._averaged(points, order, notes)
        first = [names.index(name) for name in order]
        features = {column: _typed([values[i] for i in first]) for column, values in kept.items()}
        found = CurveTable(order, *wide, pd.DataFrame(features, index=order), notes)
        if error is not None:
            found.standard_errors = self._standard_errors(error, found, names, sizes)
        return found

    def _standard_errors(self, column: str, table: CurveTable, names: list[str], sizes: list[float]) -> np.ndarray:
        """Standard errors of the values, the mean where a point has several: seeds are tested on the same examples."""
        found: dict[tuple[str, float], list[float]] = {}
        for cell, name, size in zip(self.cells(column), names, sizes, strict=True):
            if math.isfinite(value := self.values.error(cell)):
                found.setdefault((name, size), []).append(value)
        errors = np.full(table.losses.shape, np.nan)
        for (name, size), seen in found.items():
            if size in table.sizes:
                errors[table.candidates.index(name), table.sizes.index(size)] = np.mean(seen)
        return errors

    def _features(
        self, names: list[str], sizes: list[float], columns: Sequence[str], notes: list[str]
    ) -> dict[str, list[str]]:
        """Columns with one value a candidate; others are refused, or named in a note where they cannot matter."""
        kept: dict[str, list[str]] = {}
        unused: list[str] = []
        for column in columns:
            values = self.column(column)
            key = column.casefold()
            if key in SETTINGS or key == self.values.name:
                self._one_setting(column, values)
            by_name: dict[str, set[str]] = {}
            by_point: dict[tuple[str, float], set[str]] = {}
            for name, size, value in zip(names, sizes, values, strict=True):
                by_name.setdefault(name, set()).add(value)
                by_point.setdefault((name, size), set()).add(value)
            if all(len(of) == 1 for of in by_name.values()):
                kept[column] = values
                continue
            twice = next((point for point, of in by_point.items() if len(of) > 1), None)
            numeric = all(number_of(value, True) is not None for value in values)
            if (twice is not None and not numeric) or (not numeric and key not in BOOKKEEPING):
                about = f"{visible(twice[0])} at {twice[1]:,.0f} examples" if twice else "rows of one candidate"
                raise InputError(
                    f"{self.path}: {about} differ in {column!r}: give one table for each of its values, or a candidate "
                    "of its own"
                )
            unused.append(column)
        if unused:
            notes.append(f"not used, as they vary within a candidate: the columns {_shown(unused)}")
        return kept

    def _one_setting(self, column: str, values: list[str]) -> None:
        found = list(dict.fromkeys(values))
        if len(found) > 1:
            raise InputError(
                f"{self.path} has rows of several kinds in {column!r} ({listed([repr(v) for v in found])}): their "
                f"{self.values.plural} cannot be compared, give one table for each"
            )
        if column.casefold() in ("metric", self.values.name):
            self.values.check_metric(self.path, found[0])

    def _averaged(self, points: list[_Point], order: list[str], notes: list[str]) -> tuple[list[float], np.ndarray]:
        """Sizes and values, the mean where a point was measured with several seeds; notes say so."""
        groups: dict[tuple[str, float], list[_Point]] = {}
        for point in points:
            groups.setdefault((point.candidate, point.size), []).append(point)
        sizes = sorted({point.size for point in points if math.isfinite(point.loss)})
        losses = np.full((len(order), len(sizes)), np.nan)
        seeded, averaged = 0, []
        for (candidate, size), group in groups.items():
            done = [point for point in group if math.isfinite(point.loss)]
            distinct = {point.loss for point in done}
            if len(distinct) > 1:
                told = self._told(candidate, size, done)
                if len({point.seed for point in done}) < len(done):
                    if self.values.contradict(list(distinct)):
                        raise InputError(f"{told}: which is right? Name a column 'seed' if both were measured")
                    averaged.append(told)
                elif self.values.contradict(list(distinct)):
                    averaged.append(told)
                seeded += 1
            if done:
                values = [point.loss for point in done]
                losses[order.index(candidate), sizes.index(size)] = np.mean(values) if len(distinct) > 1 else values[0]
        if seeded:
            notes.append(f"the mean is taken where a point was measured more than once, at {counted(seeded, 'point')}")
            notes.extend(averaged[:3])
            if len(averaged) > 3:
                notes.append(f"{len(averaged) - 3:,} more points with rows that differ were averaged")
        finite = [[point.loss for point in group if math.isfinite(point.loss)] for group in groups.values()]
        repeats = sum(len(seen) - 1 for seen in finite if len(seen) > 1 and len(set(seen)) == 1)
        if repeats:
            notes.append(f"rows that repeat a measurement count once ({repeats:,} left out)")
        unmeasured = [point.row for point in points if not math.isfinite(point.loss)]
        if unmeasured:
            rows = f"{counted(len(unmeasured), 'row')} without a {self.values.name} left out"
            notes.append(f"{rows} (row {listed(unmeasured)})")
        return sizes, losses

    def _told(self, candidate: str, size: float, group: list[_Point]) -> str:
        seen = listed([f"{point.loss:g} (row {point.row})" for point in group])
        apart = self.values.apart([point.loss for point in group])
        return f"{self.path}: {candidate} at {size:,.0f} examples has the {self.values.plural} {seen}, {apart}"

    def wide(self) -> CurveTable:
        """The table of one row a candidate."""
        header = self.table.header
        sized = {c: size_of(c) for c in header if c != self.name and size_of(c) is not None}
        self._check_headers(sized)
        names, numbers = self.names(), self.numbers
        for i, name in enumerate(names):
            if name in names[:i]:
                first, again = numbers[names.index(name)], numbers[i]
                raise InputError(f"{self.path}: two candidates are named {name!r} (rows {first} and {again})")
        ordered = sorted(sized, key=lambda column: sized[column] or 0.0)
        losses = np.full((len(names), len(ordered)), np.nan)
        for s, column in enumerate(ordered):
            losses[:, s] = [self.values.value(cell) for cell in self.cells(column)]
        diverged = int(np.isinf(losses).sum())
        losses[~np.isfinite(losses)] = np.nan
        measured = np.isfinite(losses).any(axis=0)
        ordered, losses = [c for c, seen in zip(ordered, measured, strict=True) if seen], losses[:, measured]
        others = [column for column in header if column != self.name and column not in sized]
        for column in others:
            if column.casefold() in SETTINGS:
                self._one_setting(column, self.column(column))
        features = pd.DataFrame({column: _typed(self.column(column)) for column in others}, index=names)
        notes = self.values.notes([text for column in ordered for text in self.column(column)])
        empty = [name for name, row in zip(names, losses, strict=True) if not np.isfinite(row).any()]
        if diverged:
            notes.append(f"{counted(diverged, 'measurement')} with an infinite loss left out")
        if empty:
            notes.append(f"nothing was measured of {listed(empty)}")
        return CurveTable(names, [float(sized[column] or 0.0) for column in ordered], losses, features, notes)

    def _check_headers(self, sized: dict[str, float | None]) -> None:
        """Columns are sizes or features, and it has to be plain which.

        Raises:
            InputError: naming the columns that look like numbers and are no sizes, or are one size twice.
        """
        header = self.table.header
        others = [column for column in header if column != self.name and column not in sized]
        odd = [column for column in others if re.match(r"[^\w]*\d", column) or re.search(r"[=:<>]\s*\d", column)]
        odd += [column for column in sized if is_ambiguous_size(column)]
        if odd:
            raise InputError(
                f"{self.path} has columns that look like numbers of examples and are not read as such: {_shown(odd)}; "
                "write whole numbers, 1000 or 1,000 or 1k"
            )
        if not sized:
            name, scores = self.values.name, [column for column in others if column.casefold() in SCORES]
            hint = f"; {_shown(scores)} is a score, give losses, of which less is better" if scores else ""
            if scores and name == "score":
                hint = f"; if {_shown(scores[:1])} is what to read, name it 'score'"
            raise InputError(
                f"{self.path} is neither tidy (columns candidate, examples, {name}) nor wide (candidate and one column "
                f"a number of examples): its columns are {_shown(header)}{hint}"
            )
        same = [column for i, column in enumerate(sized) if sized[column] in list(sized.values())[:i]]
        if same:
            twins = [column for column in sized if sized[column] == sized[same[0]]]
            raise InputError(
                f"{self.path} has more than one column for {sized[same[0]]:,.0f} examples: {_shown(twins)}"
            )


def _typed(values: list[str]) -> list[float] | list[str]:
    """Numbers where all are numbers or empty; otherwise text, as it is."""
    numbers = [number_of(value) for value in values]
    if all(number is not None for number in numbers) and any(number == number for number in numbers):
        found = [float(number) if number is not None else math.nan for number in numbers]
        return found
    return [read_name(value) for value in values]


def read_name(text: str) -> str:
    """A name as it was before `written_name`."""
    text = text.strip()
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def written_name(name: object) -> object:
    """Text that no spreadsheet takes for a formula: one with `=`, `+`, `-` or `@` in front gets a `'` before it."""
    return f"'{name}" if isinstance(name, str) and FORMULA.match(name) else name


def _shown(columns: Sequence[str]) -> str:
    return listed([repr(shortened(column, 40)) for column in columns], 8)
