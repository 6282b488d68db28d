"""JSON parsed strictly: a key given twice, a number too long or brackets too deep are errors with a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lensllm.errors import InputError
from lensllm.tasks.rows import Row
from lensllm.text import shortened, visible


def parse(text: str, place: str) -> Any:
    """The value that the text holds.

    Args:
        text: JSON.
        place: where it stands, for messages.

    Raises:
        json.JSONDecodeError: if it is not JSON; the caller knows the line.
        InputError: if a key is given twice, or it is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise InputError(f"{place} is nested too deeply to be read") from error
    except ValueError as error:
        raise InputError(f"{place} cannot be read: {visible(shortened(error, 120))}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"the key {twice!r} is given twice")
    return made


def mapping(value: object, place: str) -> dict[str, Any]:
    """The value, which has to be an object.

    Raises:
        InputError: if it is something else.
    """
    if not isinstance(value, dict):
        raise InputError(f"{place} must be an object with named columns, got {type(value).__name__}")
    return value


def lines_of(lines: Iterable[str], path: Path) -> Iterator[Row]:
    """A row a line that is not blank, numbered by its line; one that is not JSON or no object is a fault."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{path} line {number}"
            try:
                yield Row(mapping(parse(line, place), place), number)
            except json.JSONDecodeError as error:
                yield Row({}, number, fault=f"line {number} is not valid JSON (column {error.colno}): {error.msg}")
            except InputError as error:
                yield Row({}, number, fault=str(error).removeprefix(f"{path} "))
