"""Arrow: streams as the datasets library saves them, and Arrow (Feather) files."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from lensllm.errors import InputError
from lensllm.tasks.containers.opening import Container, Opened
from lensllm.tasks.containers.tables import rows_of_batches
from lensllm.tasks.rows import Row

MAGIC = b"ARROW1"
ENDS = (b"\xff\xff\xff\xff\x00\x00\x00\x00", b"\x00\x00\x00\x00")
"""What a stream that was written to its end ends with, today and before Arrow 0.15."""


def rows(opened: Opened) -> Iterator[Row]:
    """The rows of an Arrow stream or file, numbered from 1."""
    name = str(opened.path)
    with opened.binary() as file:
        data = file.read()
    if data.startswith(MAGIC):
        with pa.ipc.open_file(data) as table:
            batches = (table.get_batch(i) for i in range(table.num_record_batches))
            yield from rows_of_batches(batches, table.schema, name)
    else:
        if not data.endswith(ENDS):
            raise InputError(f"{name} is cut short, or no Arrow stream: save it anew")
        with pa.ipc.open_stream(data) as stream:
            yield from rows_of_batches(stream, stream.schema, name)


CONTAINER = Container((".arrow", ".feather"), "row", rows)
