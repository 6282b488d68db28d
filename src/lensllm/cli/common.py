"""What the commands share: tables, JSON, progress."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from lensllm.tuning.run import Run

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@contextmanager
def progress_bar() -> Iterator[Callable[[Run, int, int], None] | None]:
    """A bar on stderr where that is a terminal; nothing elsewhere."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        shown = bar.add_task("starting the workers", total=None)

        def report(run: Run, done: int, expected: int) -> None:
            loss = f"{run.nats_per_byte:.3f} nats/byte" if run.status == "done" else run.status
            bar.update(
                shown, completed=done, total=expected, description=f"{run.candidate} on {run.examples:,}: {loss}"
            )

        yield report


def empty_table(*columns: str, names: int = 1) -> Table:
    """An empty table whose first `names` columns are text and the others numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < names else "right", no_wrap=i > 0, overflow="fold")
    return table


def console() -> Console:
    """Standard output, never narrowed where it is not a terminal."""
    output = Console()
    if not output.is_terminal:
        output.width = 10_000
    return output


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    console().print(table)


def finite(record: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinity, which JSON does not know, as null."""
    return json.loads(json.dumps(record), parse_constant=lambda _: None)
