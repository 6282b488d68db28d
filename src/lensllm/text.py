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


def listed(items: Sequence[object], most: int = 5, longest: int = 60) -> str:
    """The first `most` items with commas, each of at most `longest` characters, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(shortened(item, longest) for item in items[:most]) + more


def counted(count: int, of: str) -> str:
    """A number with its noun: `1 row`, `2 rows`."""
    return f"{count:,} {of}" if count == 1 else f"{count:,} {of}s"


def gibibytes(count: float) -> str:
    """A number of bytes in GiB, or in MiB where that is less than a tenth.

    >>> gibibytes(3 << 29), gibibytes(50 << 20), gibibytes(1 << 18)
    ('1.5 GiB', '50 MiB', '0.2 MiB')
    """
    if count >= (1 << 30) / 10:
        return f"{count / (1 << 30):,.1f} GiB"
    mebibytes = count / (1 << 20)
    return f"{mebibytes:,.0f} MiB" if mebibytes >= 1 or not count else f"{mebibytes:.1f} MiB"


def short(count: int) -> str:
    """A number of parameters as people say it.

    >>> short(134_515_008), short(1_540_000_000), short(6_400), short(10)
    ('135 M', '1.5 B', '6.4 K', '10')
    """
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count >= 10 * size else f"{count / size:.1f} {unit}"
    return str(count)


def memory(size: float | None) -> str:
    """The same, `none` for 0; nothing where it is not known.

    >>> memory(2.5 * 2**30), memory(0.0), memory(None)
    ('2.5 GiB', 'none', '')
    """
    if size is None:
        return ""
    return gibibytes(size) if size else "none"


def time_left(seconds: float, done: int, left: int) -> str:
    """How long the rest takes at the pace so far, in words; nothing where no pace is known or nothing is left.

    Args:
        seconds: that what is done took.
        done: how much that is.
        left: how much there is to do.

    >>> time_left(60, 3, 9), time_left(60, 0, 9)
    ('3 min', '')
    """
    return duration(seconds / done * left) if done > 0 and left > 0 else ""


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(0.4), duration(75), duration(7_000), duration(200_000)
    ('1 s', '75 s', '1.9 h', '56 h')
    """
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
