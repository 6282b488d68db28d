"""CSV files that W&B, MLflow and loggers of losses write: a row a run, a column a run, or a row an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lensllm.curve_sources.history import LOSSES, History, number, plain_name
from lensllm.delimited import Delimited
from lensllm.errors import InputError

NAMES = ("tags.mlflow.runName", "Name", "name", "Run", "run", "run_name", "Run Name", "Run ID", "run_id", "ID")
"""Columns that name a run, the most telling first: MLflow's API, W&B's and MLflow's pages, and identities."""
STEPS = ("Step", "step", "_step", "global_step", "train/global_step", "trainer/global_step", "epoch", "train/epoch")
APART = " - "
"""What W&B writes between run and metric in the header of a panel's export."""
BOUNDS = ("__MIN", "__MAX")
"""W&B writes the extremes of runs that are drawn together beside each column."""
UNENDED = {"running": "it is still running", "crashed": "it crashed", "failed": "it failed", "killed": "it was killed"}


def is_run_table(table: Delimited) -> bool:
    """Whether a table was written by a tracker: it has an evaluation loss by name, which our own tables have not."""
    columns = [_metric_of(column) for column in table.header]
    own = {"candidate", "examples", "loss"} <= {column.casefold() for column in table.header}
    return not own and any(_is_loss(column) for column in columns)


def read_run_table(path: Path, table: Delimited) -> list[History]:
    """The histories of the runs of a table.

    Args:
        path: of the file, for messages.
        table: its cells.

    Raises:
        InputError: naming row and column of what cannot be what it stands for.
    """
    if any(APART in column and _is_loss(_metric_of(column)) for column in table.header):
        return _panel(path, table)
    name = next((column for column in NAMES if column in table.header), None)
    step = next((column for column in STEPS if column in table.header), None)
    names = [_cell(table, cells, name) for _, cells in table.rows] if name else []
    if step and (name is None or len(set(names)) < len(names)):
        return _evaluations(path, table, name)
    if name is None:
        raise InputError(f"{path} has evaluation losses and no column that names runs, expected one of {NAMES}")
    if len(set(names)) < len(names):
        twice = next(one for i, one in enumerate(names) if one in names[:i])
        raise InputError(f"{path} names two runs {twice!r} in column {name!r}: give each its own name")
    return [_a_row(path, table, number_, cells, name) for number_, cells in table.rows]


def _panel(path: Path, table: Delimited) -> list[History]:
    """A column a run: `Step`, then `RUN - METRIC`."""
    step = table.header[0]
    runs = dict.fromkeys(c.rpartition(APART)[0] for c in table.header[1:] if APART in c and not c.endswith(BOUNDS))
    histories = []
    for run in runs:
        columns = [c for c in table.header if c.rpartition(APART)[0] == run and not c.endswith(BOUNDS)]
        rows = []
        for row, cells in table.rows:
            found = {_metric_of(c): v for c in columns if (v := _value(path, table, row, cells, c)) is not None}
            if found:
                at = _value(path, table, row, cells, step)
                rows.append({**found, plain_name(step): at} if at is not None else found)
        histories.append(History(run, f"{path} run {run}", tuple(rows)))
    return histories


def _evaluations(path: Path, table: Delimited, name: str | None) -> list[History]:
    """A row an evaluation, of one run or of several."""
    runs: dict[str, list[dict[str, float]]] = {}
    for row, cells in table.rows:
        found = {plain_name(c): v for c in table.header if c != name and (v := _soft(table, cells, c)) is not None}
        for column in table.header:
            if _is_loss(plain_name(column)):
                _value(path, table, row, cells, column)
        runs.setdefault(_cell(table, cells, name) if name else path.stem, []).append(found)
    ordered = {run: sorted(rows, key=lambda row: row.get("step", row.get("epoch", 0.0))) for run, rows in runs.items()}
    return [History(run, f"{path} run {run}" if name else str(path), tuple(rows)) for run, rows in ordered.items()]


def _a_row(path: Path, table: Delimited, row: int, cells: Sequence[str], name: str) -> History:
    """A row a run: what it ended with, and its settings."""
    values = {plain_name(c): v for c in table.header if (v := _soft(table, cells, c)) is not None}
    for column in table.header:
        if _is_loss(plain_name(column)):
            _value(path, table, row, cells, column)
    settings = {plain_name(c): _cell(table, cells, c) for c in table.header if c != name}
    state = next((settings[c] for c in ("State", "Status", "status", "state") if c in settings), "").casefold()
    return History(_cell(table, cells, name), f"{path} row {row}", (values,), settings, UNENDED.get(state, ""))


def _metric_of(column: str) -> str:
    return plain_name(column.rpartition(APART)[2])


def _is_loss(name: str) -> bool:
    return name in LOSSES or (name.startswith("eval_") and name.endswith("_loss"))


def _cell(table: Delimited, cells: Sequence[str], column: str | None) -> str:
    place = table.header.index(column) if column else 0
    return cells[place].strip() if place < len(cells) else ""


def _soft(table: Delimited, cells: Sequence[str], column: str) -> float | None:
    return number(_cell(table, cells, column))


def _value(path: Path, table: Delimited, row: int, cells: Sequence[str], column: str) -> float | None:
    """A number; None where nothing was logged.

    Raises:
        InputError: naming row and column of anything else.
    """
    text = _cell(table, cells, column)
    if text.casefold() in ("", "nan", "none", "null", "-"):
        return None
    found = number(text)
    if found is None:
        raise InputError(f"{path} row {row}: {column!r} is {text!r}, expected a number")
    return found
