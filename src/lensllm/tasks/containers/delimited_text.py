"""CSV and TSV: a header of column names, then a row an example; rows are counted as a spreadsheet does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lensllm.delimited import read_delimited
from lensllm.tasks.containers.opening import Container, Opened
from lensllm.tasks.rows import Row


def rows_with(delimiter: str) -> Callable[[Opened], Iterator[Row]]:
    """A reader of tables with this separator."""

    def rows(opened: Opened) -> Iterator[Row]:
        with opened.text() as file:
            table = read_delimited(file.read(), str(opened.path), delimiter)
        opened.notes += [f"{opened.path.name}: {note}" for note in table.notes]
        for number, cells in table.rows:
            missing = len(table.header) - len(cells)
            short = f"has {len(cells)} cells, the header {len(table.header)}" if missing else ""
            yield Row(dict(zip(table.header, cells + [""] * missing, strict=True)), number, short)

    return rows


COMMAS = Container((".csv",), "row", rows_with(","))
TABS = Container((".tsv", ".tab"), "row", rows_with("\t"))
