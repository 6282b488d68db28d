"""Numbers as people write them in tables of losses and scores: `1,000`, `1_000`, `1k`, `0,75`."""

from __future__ import annotations

import math
import re

PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
GROUPED = re.compile(r"\d{1,3}(?P<mark>[,_' \u00a0\u202f])\d{3}((?P=mark)\d{3})*")
DOTTED = re.compile(r"[1-9]\d{0,2}(\.\d{3})+")
SCALED = re.compile(r"(\d+(?:\.\d+)?) ?([kKmM])")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
SCALES = {"k": 1e3, "m": 1e6}
LARGEST = 1e15
MISSING = frozenset({"", "-", "--", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"})
ENDLESS = frozenset({"inf", "+inf", "-inf", "infinity", "-infinity", "+infinity"})


def size_of(text: str) -> float | None:
    """A number of examples; None where the text is none.

    >>> [size_of(text) for text in ("400", "400.0", "1,000", "1_000", "2k", "1e3", "400.1", "-5", "loss")]
    [400.0, 400.0, 1000.0, 1000.0, 2000.0, 1000.0, None, None, None]
    """
    text = text.strip()
    if GROUPED.fullmatch(text):
        value = float(re.sub(r"\D", "", text))
    elif scaled := SCALED.fullmatch(text):
        value = float(scaled[1]) * SCALES[scaled[2].lower()]
        value = round(value) if math.isclose(value, round(value)) else value
    elif PLAIN.fullmatch(text):
        value = float(text)
    else:
        return None
    return float(value) if 0 <= value <= LARGEST and value == int(value) else None


def is_ambiguous_size(text: str) -> bool:
    """Whether a whole number is written with points, `1.000`: a thousand to some, one to others."""
    return bool(DOTTED.fullmatch(text.strip()))


def number_of(text: str, decimal_comma: bool = False) -> float | None:
    """A measurement; NaN where there is none, infinity for a run that diverged, None where the text is no number."""
    text = text.strip()
    if text.lower() in MISSING:
        return math.nan
    if text.lower() in ENDLESS:
        return math.inf
    if decimal_comma and DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if not PLAIN.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
