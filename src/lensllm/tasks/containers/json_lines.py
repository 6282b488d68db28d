"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from lensllm.tasks.containers.json_document import rows_of_text
from lensllm.tasks.containers.json_values import lines_of
from lensllm.tasks.containers.opening import Container, Opened
from lensllm.tasks.rows import Row


def rows(opened: Opened) -> Iterator[Row]:
    """The rows of a JSON Lines file; one that holds a single JSON list is read as that list."""
    with opened.text() as file:
        lines = iter(file)
        blank: list[str] = []
        for line in lines:
            blank.append(line)
            if line.strip():
                break
        if blank and blank[-1].lstrip().startswith("["):
            yield from rows_of_text("".join(blank) + file.read(), opened)
        else:
            yield from lines_of(chain(blank, lines), opened.path)


CONTAINER = Container((".jsonl", ".ndjson"), "line", rows)
