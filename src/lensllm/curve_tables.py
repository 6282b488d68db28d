"""Read a table of measured losses right, or refuse it with the row and the column; write one that is safe to open."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lensllm.curve_numbers import DECIMAL_COMMA, is_ambiguous_size, loss_of, size_of
from lensllm.delimited import Delimited, encoding_of, read_delimited
from lensllm.errors import InputError
from lensllm.text import counted, listed, shortened, visible

NAME_COLUMNS = ("candidate", "model", "config name")
SIZE_COLUMNS = ("examples", "d", "n")
LOSS = "loss"
STANDARD_ERROR = "standard_error"
SEEDS = frozenset({"seed", "run", "trial", "repeat", "replicate", "fold", "subset_seed", "seed_id"})
SETTINGS = frozenset({"task", "dataset", "data", "split", "metric", "unit", "measure", "set", "benchmark", "language"})
SCORES = frozenset(
    {
        "acc",
        "accuracy",
        "f1",
        "precision",
        "recall",
        "auc",
        "auroc",
        "bleu",
        "rouge",
        "rouge1",
        "rouge2",
        "rougel",
        "em",
    }
    | {"exact_match", "score", "reward", "mcc", "win_rate", "pass@1", "r2", "meteor", "chrf", "comet"}
)
BOOKKEEPING = frozenset(
    {"id", "run_id", "date", "time", "timestamp", "note", "notes", "comment", "path", "file", "host", "device", "gpu"}
    | {"commit", "status", "name"}
)
APART = 2.0
"""Measurements of one point that differ by more than this factor, with no seed to tell them apart, contradict."""
RISE = 1.01
MOSTLY = 0.8
FEW = 5
FORMULA = re.compile(r"'*[=+\-@\t\r]")


@dataclass
class CurveTable:
    """A table as it was read.

    Attributes:
        candidates: names in the order of the file.
        sizes: numbers of examples, ascending.
        losses: shape (K, S); NaN where nothing was measured.
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
    table = _opened(path)
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
    reader = _Reader(path, table, name)
    tidy = size is not None and LOSS in columns
    made = reader.tidy(str(size), columns[LOSS]) if tidy else reader.wide()
    if not ours:
        _refuse_scores(made, path)
    made.notes[:0] = table.notes
    return made


def _opened(path: Path) -> Delimited:
    try:
        if not path.is_file():
            raise InputError(f"no such file: {shortened(visible(path), 120)}")
        raw = path.read_bytes()
        text = raw.decode(encoding_of(raw[:4]))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a CSV table: it is not text in UTF-8 (byte {error.start:,})") from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        shown = getattr(error, "strerror", None) or error
        raise InputError(f"{shortened(visible(path), 120)} cannot be read: {shown}") from error
    if "\x00" in text:
        raise InputError(f"{path} is not a CSV table: it holds NUL characters")
    table = read_delimited(text, str(path), "\t" if path.suffix.lower() == ".tsv" else ",")
    if not table.header:
        raise InputError(f"{path} is not a CSV table: it is empty")
    return table


@dataclass
class _Reader:
    path: Path
    table: Delimited
    name: str

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

    def loss(self, text: str, number: int, column: str) -> float:
        """A loss above 0, NaN if none was measured, infinity if the run diverged.

        Raises:
            InputError: naming row and column of anything else.
        """
        comma = self.table.delimiter != ","
        value = loss_of(text, comma)
        where, shown = f"{self.path} row {number}: {column!r}", repr(shortened(text, 40))
        if value is None and text.endswith("%"):
            raise InputError(f"{where} is {shown}: percentages are scores, expected losses, of which less is better")
        if value is None and DECIMAL_COMMA.fullmatch(text):
            raise InputError(f"{where} is {shown}: write a decimal point")
        if value is None:
            raise InputError(f"{where} is {shown}, expected a number")
        if value <= 0:
            raise InputError(f"{where} is {shown}: losses have to be above 0, as their logarithms are taken")
        if math.isfinite(value) and not 1e-12 <= value <= 1e12:
            raise InputError(f"{where} is {shown}: that is no loss of a language model, expected 1e-12 to 1e12")
        return value

    def size(self, text: str, number: int, column: str) -> float:
        """A number of examples.

        Raises:
            InputError: naming row and column of anything else.
        """
        where, shown = f"{self.path} row {number}: {column!r}", repr(shortened(text, 40))
        if is_ambiguous_size(text) and self.table.delimiter != ",":
            raise InputError(f"{where} is {shown}, which may be {text.replace('.', '')}: write it without points")
        value = size_of(text)
        if value is None and loss_of(text) is not None:
            raise InputError(f"{where} is {shown}: sizes must be numbers of examples, 0 or more and whole")
        if value is None:
            raise InputError(f"{where} is {shown}, expected a number")
        return value

    def tidy(self, size: str, loss: str) -> CurveTable:
        """The table of one row a measurement."""
        names, numbers = self.names(), self.numbers
        sizes = [self.size(t, n, size) for t, n in zip(self.column(size), numbers, strict=True)]
        losses = [self.loss(t, n, loss) for t, n in zip(self.column(loss), numbers, strict=True)]
        header = self.table.header
        error = next((column for column in header if column.casefold() == STANDARD_ERROR), None)
        others = [column for column in header if column not in (self.name, size, loss, error)]
        seeds = [column for column in others if column.casefold() in SEEDS]
        notes: list[str] = []
        kept = self._features(names, sizes, [column for column in others if column not in seeds], notes)
        seed_rows = list(zip(*(self.column(column) for column in seeds), strict=True)) or [()] * len(names)
        points = [_Point(*row) for row in zip(names, sizes, losses, numbers, seed_rows, strict=True)]
        order = list(dict.fromkeys(names))
        wide = self._averaged(points, order, notes)
        first = [names.index(name) for name in order]
        features = {column: _typed([values[i] for i in first]) for column, values in kept.items()}
        found = CurveTable(order, *wide, pd.DataFrame(features, index=order), notes)
        if error is not None:
            found.standard_errors = self._standard_errors(error, found, names, sizes)
        return found

    def _standard_errors(self, column: str, table: CurveTable, names: list[str], sizes: list[float]) -> np.ndarray:
        """Standard errors of the losses, the mean where a point has several: seeds are tested on the same examples."""
        found: dict[tuple[str, float], list[float]] = {}
        for text, number, name, size in zip(self.column(column), self.numbers, names, sizes, strict=True):
            value = loss_of(text, self.table.delimiter != ",")
            if value is None or value < 0:
                shown = repr(shortened(text, 40))
                raise InputError(f"{self.path} row {number}: {column!r} is {shown}, expected a number, 0 or more")
            if math.isfinite(value):
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
            if key in SETTINGS:
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
            numeric = all(loss_of(value, True) is not None for value in values)
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
                "losses cannot be compared, give one table for each"
            )
        if column.casefold() == "metric" and found[0].casefold() in SCORES:
            raise InputError(
                f"{self.path} holds {found[0]!r}, of which more is better: give losses (for an accuracy, the errors)"
            )

    def _averaged(self, points: list[_Point], order: list[str], notes: list[str]) -> tuple[list[float], np.ndarray]:
        """Sizes and losses, the mean where a point was measured with several seeds; notes say so."""
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
                    if max(distinct) > APART * min(distinct):
                        raise InputError(f"{told}: which is right? Name a column 'seed' if both were measured")
                    averaged.append(told)
                elif max(distinct) > APART * min(distinct):
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
            notes.append(f"{counted(len(unmeasured), 'row')} without a loss left out (row {listed(unmeasured)})")
        return sizes, losses

    def _told(self, candidate: str, size: float, group: list[_Point]) -> str:
        seen = listed([f"{point.loss:g} (row {point.row})" for point in group])
        factor = max(p.loss for p in group) / min(p.loss for p in group)
        return f"{self.path}: {candidate} at {size:,.0f} examples has the losses {seen}, a factor of {factor:.3g} apart"

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
            for k, (text, number) in enumerate(zip(self.column(column), numbers, strict=True)):
                losses[k, s] = self.loss(text, number, column)
        diverged = int(np.isinf(losses).sum())
        losses[~np.isfinite(losses)] = np.nan
        measured = np.isfinite(losses).any(axis=0)
        ordered, losses = [c for c, seen in zip(ordered, measured, strict=True) if seen], losses[:, measured]
        others = [column for column in header if column != self.name and column not in sized]
        for column in others:
            if column.casefold() in SETTINGS:
                self._one_setting(column, self.column(column))
        features = pd.DataFrame({column: _typed(self.column(column)) for column in others}, index=names)
        notes = []
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
            scores = [column for column in others if column.casefold() in SCORES]
            hint = f"; {_shown(scores)} is a score, give losses, of which less is better" if scores else ""
            raise InputError(
                f"{self.path} is neither tidy (columns candidate, examples, loss) nor wide (candidate and one column "
                f"a number of examples): its columns are {_shown(header)}{hint}"
            )
        same = [column for i, column in enumerate(sized) if sized[column] in list(sized.values())[:i]]
        if same:
            twins = [column for column in sized if sized[column] == sized[same[0]]]
            raise InputError(
                f"{self.path} has more than one column for {sized[same[0]]:,.0f} examples: {_shown(twins)}"
            )


def _refuse_scores(table: CurveTable, path: Path) -> None:
    """Refuse a table whose values rise with the data: losses fall, scores rise.

    Raises:
        InputError: if four in five candidates that were measured at three sizes or more rise; of those at two, if
            there are five or more.
    """
    tuned = np.array(table.sizes) > 0
    measured = np.isfinite(table.losses[:, tuned]).sum(axis=1)
    least = 3 if np.any(measured >= 3) else 2
    if least == 2 and np.sum(measured == 2) < FEW:
        return
    rising, told, judged = 0, "", 0
    for name, row in zip(table.candidates, table.losses[:, tuned], strict=True):
        seen = np.flatnonzero(np.isfinite(row))
        if len(seen) < least:
            continue
        judged += 1
        first, last = row[seen[0]], row[seen[-1]]
        steps = np.diff(row[seen])
        if last > first * RISE and np.sum(steps > 0) > len(steps) / 2:
            rising += 1
            sizes = np.array(table.sizes)[tuned][seen]
            told = told or f"{name}: {first:g} at {sizes[0]:,.0f}, {last:g} at {sizes[-1]:,.0f}"
    if judged and rising >= MOSTLY * judged:
        raise InputError(
            f"{path}: the values of {rising} of {counted(judged, 'candidate')} rise with the data ({told}), and "
            "losses fall: if these are scores, of which more is better, give errors (100 minus an accuracy)"
        )


def _typed(values: list[str]) -> list[float] | list[str]:
    """Numbers where all are numbers or empty; otherwise text, as it is."""
    numbers = [loss_of(value) for value in values]
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
