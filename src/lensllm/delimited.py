"""Comma-, semicolon- and tab-separated text, read right or refused with the row: no cell moves into another column."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lensllm.errors import InputError
from lensllm.text import listed, shortened, visible

LONGEST_CELL = 1 << 30
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Rows = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Delimited:
    """A table of cells.

    Attributes:
        header: column names without the spaces round them; each stands there once.
        rows: number and cells of every row that is not blank. Rows are counted as a spreadsheet does: the header is
            row 1. A row may have fewer cells than the header, never more.
        delimiter: what stands between cells.
        notes: what a reader of the result should know.
    """

    header: list[str]
    rows: Rows
    delimiter: str
    notes: tuple[str, ...] = ()


def encoding_of(start: bytes) -> str:
    """The encoding that the first bytes of a file tell: by its byte order mark, or UTF-8."""
    return next((encoding for mark, encoding in MARKS if start.startswith(mark)), "utf-8")


def open_delimited(path: Path) -> Delimited:
    """Read a file as a table: CSV, or TSV by its name.

    Raises:
        InputError: if it is missing, no text in UTF-8 or UTF-16, empty, or as `read_delimited`.
    """
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


def read_delimited(text: str, name: str, delimiter: str = ",") -> Delimited:
    """Read a table.

    Where the header has no comma, semicolons or tabs separate. Quotation marks group as CSV does; where they do not
    pair up in tab-separated text, they are ordinary characters.

    Args:
        text: of the file.
        name: of the file, for messages.
        delimiter: of its file type.

    Raises:
        InputError: naming the row that has more cells than the header, or whose quotation marks do not pair up.
    """
    csv.field_size_limit(LONGEST_CELL)
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        delimiter, text, skipped = first.strip()[4], rest, 1
    elif delimiter not in first:
        delimiter = next((other for other in (";", "\t") if delimiter == "," and other in first), delimiter)
    rows, notes = _rows(text, name, delimiter)
    rows = [(number + skipped, cells) for number, cells in rows if any(cell.strip() for cell in cells)]
    if not rows:
        return Delimited([], [], delimiter)
    header = [cell.strip() for cell in rows[0][1]]
    for number, cells in rows[1:]:
        if len(cells) > len(header):
            raise InputError(
                f"{name} row {number} has {len(cells)} cells, the header {len(header)}: put a cell that holds the "
                f"separator {delimiter!r} in quotation marks"
            )
    header, body = _named(header, rows[1:], name)
    return Delimited(header, body, delimiter, notes)


def _rows(text: str, name: str, delimiter: str) -> tuple[Rows, tuple[str, ...]]:
    """Rows by the reading of the quotation marks that makes a table; what was decided is a note."""
    if '"' not in text:
        return _split(text, delimiter, csv.QUOTE_NONE), ()
    literal = _split(text, delimiter, csv.QUOTE_NONE)
    even = len({len(cells) for _, cells in literal if cells}) == 1
    try:
        quoted = _split(text, delimiter, csv.QUOTE_MINIMAL)
    except csv.Error as error:
        if delimiter == "\t" and even:
            return literal, ("quotation marks are read as ordinary characters",)
        reached = _reached(text, delimiter)
        raise InputError(f"{name} row {reached}: quotation marks do not pair up ({error})") from error
    melted = [number for number, cells in quoted if any("\n" in cell and delimiter in cell for cell in cells)]
    if melted and even:
        if delimiter == "\t":
            return literal, ("quotation marks are read as ordinary characters",)
        raise InputError(
            f"{name} row {melted[0]} holds a line break and a {delimiter!r} within quotation marks, and without them "
            f"every line has {len(literal[0][1])} cells: double the quotation marks that are ordinary characters"
        )
    stripped = delimiter == "\t" and even and quoted != literal
    return quoted, ("quotation marks round cells are read as quoting, not as text",) if stripped else ()


def _split(text: str, delimiter: str, quoting: Literal[0, 3]) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    return list(enumerate(reader, start=1))


def _reached(text: str, delimiter: str) -> int:
    """The row at which strict reading ends with an error."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for _ in reader:
            number += 1
    except csv.Error:
        pass
    return number + 1


def _named(header: list[str], rows: Rows, name: str) -> tuple[list[str], Rows]:
    """The table without columns that have neither a name nor a cell; every name stands there once."""
    kept = [
        i for i, column in enumerate(header) if column or any(len(cells) > i and cells[i].strip() for _, cells in rows)
    ]
    if len(kept) < len(header):
        header = [header[i] for i in kept]
        rows = [(number, [cells[i] for i in kept if i < len(cells)]) for number, cells in rows]
    twice = [shortened(repr(column)) for i, column in enumerate(header) if column in header[:i]]
    if twice:
        raise InputError(f"{name} has more than one column {listed(twice)}: give each its own name")
    return header, rows
