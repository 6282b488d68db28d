"""What the commands share: tables, JSON, progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from lensllm.jobs import Job
from lensllm.objectives import OBJECTIVES
from lensllm.records import Record
from lensllm.search.callbacks import Callback
from lensllm.search.callbacks import Progress as Jobs
from lensllm.tuning.run import Run

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class ProgressBar(Callback):
    """A bar of jobs with what ended last, and the time that is left at the pace so far."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._shown = bar.add_task("starting", total=None)

    def on_run_begin(self, job: Job, progress: Jobs) -> None:
        """Say what runs."""
        self._bar.update(self._shown, total=progress.expected, description=escape(job.label))

    def on_run_end(self, job: Job, record: Record, progress: Jobs) -> None:
        """Say what came of it."""
        loss = OBJECTIVES[0].read(record)[0] if isinstance(record, Run) else float("nan")
        came = record.status if loss != loss else OBJECTIVES[0].format(loss)
        described = escape(f"{job.label}: {came}")
        self._bar.update(self._shown, completed=progress.done, total=progress.expected, description=described)


@contextmanager
def progress_bar() -> Iterator[list[Callback]]:
    """Callbacks that show a bar on stderr where that is a terminal; none elsewhere."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield []
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True) as bar:
        yield [ProgressBar(bar)]


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
