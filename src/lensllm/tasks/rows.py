"""One row of a file, and the text in its columns."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lensllm.errors import InputError
from lensllm.text import shortened, visible

SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row as its file type gives it.

    Attributes:
        values: column -> value.
        number: of the line, or of the row where a file has no lines; spreadsheets count a header as row 1.
        short: what to say of a row that has fewer cells than the header; empty for all others.
        fault: where it stands and why nothing of it can be read; empty for all others.
    """

    values: Mapping[str, Any]
    number: int
    short: str = ""
    fault: str = ""


def is_missing(value: object) -> bool:
    """Whether there is nothing: null, not a number, or text of white space alone."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def checked_text(text: str, place: str) -> str:
    """The text, if it can be written.

    Raises:
        InputError: naming the place if it holds half a character or a NUL.
    """
    if not text.isascii() and (half := SURROGATE.search(text)):
        shown = visible(half.group())
        raise InputError(
            f"{place} holds half a character ({shown}, a surrogate without its other half), "
            "which no encoding can write: mend it or leave the row out"
        )
    if "\x00" in text:
        shown = shortened(visible(text), 40)
        raise InputError(f"{place} holds a NUL character ({shown}): the file may be damaged")
    return text


@dataclass(frozen=True, slots=True)
class Cells:
    """The text of a row's columns, checked.

    Attributes:
        row: the row.
        place: where it stands, for messages: `data.jsonl line 3`.
    """

    row: Row
    place: str

    def text(self, column: str) -> str:
        """The text of a column; numbers are written as Python writes them, nothing is the empty text.

        Raises:
            InputError: naming the row if the value is neither text nor a number, or cannot be text.
        """
        value = self.row.values.get(column)
        if is_missing(value):
            return ""
        if isinstance(value, str):
            return checked_text(value, f"{self.place}: {column!r}")
        if isinstance(value, bool | int | Decimal) or (isinstance(value, float) and math.isfinite(value)):
            return str(value)
        kind = "an infinite number" if isinstance(value, float) else type(value).__name__
        raise InputError(f"{self.place}: {column!r} must be text, got {kind}")
