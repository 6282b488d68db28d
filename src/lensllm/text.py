"""Text from outside, shown as text: no character of it drives a terminal, breaks a line or hides."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that are written as escapes: controls, format marks, lone surrogates, line separators."""


def visible(text: object) -> str:
    r"""The text on one line, with what cannot be seen written as `\x1b`, `\n` or `\u202e`.

    >>> visible("a\x1b[2J")
    'a\\x1b[2J'
    """
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(_escaped(c) if unicodedata.category(c) in HIDDEN else c for c in shown)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def shortened(text: object, longest: int = 60) -> str:
    """The text, cut in its middle where it is longer than `longest` characters."""
    shown = str(text)
    if len(shown) <= longest:
        return shown
    half = (longest - 3) // 2
    return f"{shown[:half]}...{shown[-half:]}"


def listed(items: Sequence[object], most: int = 5) -> str:
    """The first `most` items with commas, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(shortened(item) for item in items[:most]) + more


def counted(count: int, of: str) -> str:
    """A number with its noun: `1 row`, `2 rows`."""
    return f"{count:,} {of}" if count == 1 else f"{count:,} {of}s"
