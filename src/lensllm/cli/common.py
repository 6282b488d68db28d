"""What the commands share: tables and text that are printed as they are, JSON, files to write."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from lensllm.errors import InputError
from lensllm.text import visible

LARGEST = 1e15
WIDEST = 10_000
"""Columns of an output that is no terminal."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class PlainTable(Table):
    """A table whose cells are text: brackets are no markup, and what cannot be seen is written as an escape."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row of texts."""
        super().add_row(*(cell if cell is None else visible(cell) for cell in cells), **options)


def say(text: object, *, error: bool = False) -> None:
    """Print text, which may hold names from outside, as one line; on stderr if it is an error."""
    print(visible(text), file=sys.stderr if error else sys.stdout)


def say_notes(notes: Sequence[str]) -> None:
    """Print notes on the data, a line each."""
    for note in notes:
        say(f"note: {note}")


def to_write(*paths: Path | None) -> None:
    """Check files that are to be written, before anything is computed.

    Raises:
        InputError: if the folder of one is missing, or it is a folder itself.
    """
    for path in paths:
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written: there is no folder {path.absolute().parent}")
        if path.is_dir():
            raise InputError(f"{path} cannot be written: it is a folder")


def to_be_finite(name: str, value: float | None) -> None:
    """Check a number that the user gives.

    Raises:
        InputError: if it is not a number, or beyond `LARGEST`.
    """
    if value is not None and not abs(value) <= LARGEST:
        raise InputError(f"{name} is {value:g}: expected a number, {LARGEST:g} at the most")


def empty_table(*columns: str, names: int = 1) -> Table:
    """An empty table whose first `names` columns are text and the others numbers."""
    table = PlainTable(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(visible(column), justify="left" if i < names else "right", no_wrap=i > 0, overflow="fold")
    return table


def console() -> Console:
    """Standard output, never narrowed where it is not a terminal."""
    output = Console(markup=False, emoji=False, highlight=False)
    if not output.is_terminal:
        output.width = WIDEST
    return output


def has_room(table: Table) -> bool:
    """Whether a table can be printed without a cell over several lines."""
    output = console()
    return Measurement.get(output, output.options.update_width(WIDEST), table).maximum <= output.width


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    console().print(table)


def finite(record: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinity, which JSON does not know, as null."""
    return json.loads(json.dumps(record), parse_constant=lambda _: None)
