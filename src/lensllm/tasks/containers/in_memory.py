"""Rows that a Python program has at hand: a list of dicts, a pandas frame, a data set of the datasets library."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lensllm.errors import InputError
from lensllm.tasks.containers.tables import rows_of_batches
from lensllm.tasks.rows import Row


def splits_in(data: Any) -> dict[str, Any] | None:
    """The splits of a `DatasetDict`; None for everything else."""
    datasets = sys.modules.get("datasets")
    return dict(data) if datasets is not None and isinstance(data, datasets.DatasetDict) else None


def rows_in(data: Any) -> list[Row]:
    """The rows, numbered from 1.

    Args:
        data: a list of dicts, a `pandas.DataFrame` or a `datasets.Dataset`.

    Raises:
        InputError: if it is something else, or columns share a name.

    >>> [(row.number, row.values) for row in rows_in([{"prompt": "1 plus 1 is", "completion": " 2"}])]
    [(1, {'prompt': '1 plus 1 is', 'completion': ' 2'})]
    """
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(data, datasets.Dataset):
        table = data.with_format("arrow")[:] if len(data) else data.data.table
        return list(rows_of_batches(table.to_batches(), table.schema, "data"))
    if isinstance(data, pd.DataFrame):
        if not data.columns.is_unique:
            raise InputError("data has more than one column of one name: give each its own")
        data = data.to_dict("records")
    if not isinstance(data, list | tuple) or not all(isinstance(row, Mapping) for row in data):
        raise InputError(
            f"data must be a path, a list of dicts, a pandas frame or a datasets.Dataset, got {type(data).__name__}"
        )
    return [Row({str(key): _plain(value) for key, value in row.items()}, i) for i, row in enumerate(data, start=1)]


def _plain(value: Any) -> Any:
    """numpy's and pandas' values as Python's own."""
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
