"""Rows that a Python program has at hand: a list of dicts, a pandas frame, a data set of the datasets library."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from lensllm.errors import InputError
from lensllm.tasks.containers.tables import rows_of_batches
from lensllm.tasks.rows import Row
from lensllm.text import shortened

SEQUENCES = (list, tuple, np.ndarray, pd.Series, pd.Index, pd.api.extensions.ExtensionArray)


def splits_in(data: Any) -> dict[str, Any] | None:
    """The splits of a `DatasetDict`; None for everything else."""
    return dict(data) if _is(data, "DatasetDict") else None


def rows_in(data: Any, name: str = "data") -> list[Row]:
    """The rows, numbered from 1; what is missing in any way is None.

    Args:
        data: a list of dicts, a `pandas.DataFrame` or a `datasets.Dataset`.
        name: what the data are called in messages.

    Raises:
        InputError: if it is something else, columns share a name or have names that are not text, or a data set has a
            transform that runs when rows are taken.

    >>> [(row.number, row.values) for row in rows_in([{"prompt": "1 plus 1 is", "completion": " 2"}])]
    [(1, {'prompt': '1 plus 1 is', 'completion': ' 2'})]
    """
    if _is(data, "Dataset"):
        return _rows_of_dataset(data, name)
    if isinstance(data, pd.DataFrame):
        data = _records(data, name)
    if not isinstance(data, list | tuple):
        streamed = "; load it without streaming" if type(data).__name__.startswith("Iterable") else ""
        raise InputError(
            f"{name} must be a path, a list of dicts, a pandas frame, a datasets.Dataset or DatasetDict, got "
            f"{type(data).__name__}{streamed}"
        )
    return [_row(row, i, name) for i, row in enumerate(data, start=1)]


def _is(data: Any, kind: str) -> bool:
    """Whether it is of a kind of the datasets library, which whoever made one has imported."""
    known = getattr(sys.modules.get("datasets"), kind, None)
    return isinstance(known, type) and isinstance(data, known)


def _rows_of_dataset(data: Any, name: str) -> list[Row]:
    """The rows with the columns that its format shows."""
    shown = data.format
    if shown["type"] == "custom":
        raise InputError(f"{name} has a transform that runs when rows are taken: run it with map, and give the result")
    if not len(data):
        return []
    if not shown["output_all_columns"]:
        data = data.select_columns(shown["columns"])
    batches = data.with_format("arrow")[:].to_batches()
    return list(rows_of_batches(batches, data.features.arrow_schema, name))


def _records(frame: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """The rows of a frame, with the levels of its index that have a name as columns."""
    levels = [level for level in frame.index.names if level is not None]
    _check_names([*levels, *frame.columns], name)
    return (frame.reset_index(levels) if levels else frame).to_dict("records")


def _check_names(names: Sequence[Hashable], place: str) -> None:
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise InputError(
                f"{place} has a column named {shortened(repr(name))}, which is not text: name it by a text"
            )
        if name in names[:i]:
            raise InputError(f"{place} has more than one column {shortened(repr(name))}: give each its own name")


def _row(row: Any, number: int, name: str) -> Row:
    place = f"{name} row {number}"
    if not isinstance(row, Mapping):
        raise InputError(f"{place} must be a dict of columns and values, got {type(row).__name__}")
    _check_names(list(row), place)
    return Row({str(key): _plain(value) for key, value in row.items()}, number)


def _plain(value: Any) -> Any:
    """numpy's and pandas' values as Python's own, and None for what is missing."""
    if value is pd.NA or value is pd.NaT or value is np.ma.masked:
        return None
    if isinstance(value, np.datetime64 | np.timedelta64):
        return value.astype("M8[us]" if isinstance(value, np.datetime64) else "m8[us]").item()
    if isinstance(value, np.longdouble):
        return _plain(float(value))
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return _plain(value.item())
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return _plain(value[()])
    if isinstance(value, float | Decimal) and value != value:
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, SEQUENCES) else value
