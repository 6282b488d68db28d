"""Rows of Arrow record batches, with class labels by their names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from lensllm.errors import InputError
from lensllm.tasks.rows import Row
from lensllm.text import listed


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column -> names of its classes, as the datasets library writes them beside a schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def rows_of_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema, name: str) -> Iterator[Row]:
    """The rows, numbered from 1; the number of a class is its name, and -1 (no label) is nothing.

    Raises:
        InputError: if two columns share a name, or a class has a number that has no name.
    """
    twice = [column for i, column in enumerate(schema.names) if column in schema.names[:i]]
    if twice:
        raise InputError(f"{name} has more than one column {listed(twice)}: give each its own name")
    named = class_names(schema)
    number = 0
    for batch in batches:
        batch.validate(full=True)
        for values in batch.to_pylist():
            number += 1
            for column, names in named.items():
                values[column] = _class(values.get(column), names, f"{name} row {number}: {column!r}")
            yield Row(values, number)


def _class(value: Any, names: list[str], place: str) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if value == -1:
        return None
    if not 0 <= value < len(names):
        raise InputError(f"{place} is {value}, and there are {len(names)} classes")
    return names[value]
