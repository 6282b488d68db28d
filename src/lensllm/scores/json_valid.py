"""Valid JSON: the answer can be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from lensllm.scores.base import Answer, Score


class JsonValid(Score):
    """Share of answers that are one JSON value (RFC 8259) with nothing but white space around it.

    A fence of back-ticks, words before it, NaN and Infinity are no JSON.

    >>> JsonValid().values([Answer("", ' {"a": 1}', ""), Answer("", "Sure! {}", ""), Answer("", "NaN", "")])
    [1.0, 0.0, 0.0]
    """

    name = "json_valid"
    unit = "share of answers that are JSON"

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """1 where it can be read."""
        return [float(read_json(one.completion) is not INVALID) for one in answers]


INVALID = object()
"""What is read of a text that is no JSON."""


def read_json(text: str) -> Any:
    """The value that a text writes, or `INVALID`."""
    try:
        return json.loads(text.strip(" \t\r\n"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return INVALID


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
