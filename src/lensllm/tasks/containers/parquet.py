"""Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow.parquet as pq

from lensllm.tasks.containers.opening import COMPRESSIONS, Container, Opened
from lensllm.tasks.containers.tables import rows_of_batches
from lensllm.tasks.rows import Row


def rows(opened: Opened) -> Iterator[Row]:
    """The rows of a Parquet file, numbered from 1."""
    packed = opened.path.suffix.lower() in COMPRESSIONS
    with pq.ParquetFile(io.BytesIO(opened.binary().read()) if packed else str(opened.path)) as file:
        yield from rows_of_batches(file.iter_batches(), file.schema_arrow, str(opened.path))


CONTAINER = Container((".parquet",), "row", rows)
