"""JSON: a list of objects, an object that holds one list, or JSON Lines under this name."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from lensllm.errors import InputError
from lensllm.tasks.containers.json_values import lines_of, mapping, parse
from lensllm.tasks.containers.opening import Container, Opened
from lensllm.tasks.rows import Row
from lensllm.text import listed, shortened


def rows(opened: Opened) -> Iterator[Row]:
    """The rows of a JSON file, numbered from 1; those of JSON Lines by their line."""
    with opened.text() as file:
        yield from rows_of_text(file.read(), opened)


def rows_of_text(text: str, opened: Opened) -> Iterator[Row]:
    """The rows that the text of a JSON file holds.

    Raises:
        InputError: naming the line that is not JSON, or what stands in place of a list of objects.
    """
    path = opened.path
    if not text.strip():
        return
    try:
        value = parse(text, str(path))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{") and "\n" in text.strip():
            yield from lines_of(io.StringIO(text), path)
            return
        raise InputError(f"{path} is not valid JSON near line {error.lineno}: {error.msg}") from error
    for number, item in enumerate(_list(value, opened), start=1):
        yield Row(mapping(item, f"{path} row {number}"), number)


def _list(value: Any, opened: Opened) -> list[Any]:
    """The list of examples: the value, or the only list of objects in it."""
    if isinstance(value, list):
        return value
    expected = f"{opened.path} must hold a list of examples"
    if not isinstance(value, dict):
        raise InputError(f"{expected}, got {type(value).__name__}")
    lists = [key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)]
    if len(lists) != 1:
        keys = listed([repr(shortened(key, 30)) for key in value])
        advice = "write each list into a file of its own" if lists else "each an object with named columns"
        raise InputError(f"{expected}, got an object with the keys {keys}: {advice}")
    others = [shortened(key, 30) for key in value if key != lists[0]]
    beside = f", not what is under {listed(others)}" if others else ""
    opened.notes.append(f"{opened.path.name}: the list under {lists[0]!r} is read{beside}")
    return value[lists[0]]


CONTAINER = Container((".json",), "row", rows)
