"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from lensllm.errors import InputError
from lensllm.tasks.containers.json_values import mapping, parse
from lensllm.tasks.containers.opening import Container, Opened
from lensllm.tasks.rows import Row


def lines_of(lines: Iterable[str], path: Path) -> Iterator[Row]:
    """A row a line that is not blank, numbered by its line.

    Raises:
        InputError: naming the line that is not JSON or no object.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{path} line {number}"
            try:
                yield Row(mapping(parse(line, place), place), number)
            except json.JSONDecodeError as error:
                raise InputError(f"{place} is not valid JSON (column {error.colno}): {error.msg}") from error


def rows(opened: Opened) -> Iterator[Row]:
    """The rows of a JSON Lines file; one that holds a single JSON list is read as that list."""
    from lensllm.tasks.containers import json_document

    with opened.text() as file:
        lines = iter(file)
        blank: list[str] = []
        for line in lines:
            blank.append(line)
            if line.strip():
                break
        if blank and blank[-1].lstrip().startswith("["):
            yield from json_document.rows_of_text("".join(blank) + file.read(), opened)
        else:
            yield from lines_of(chain(blank, lines), opened.path)


CONTAINER = Container((".jsonl", ".ndjson"), "line", rows)
