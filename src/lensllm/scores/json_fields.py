"""Fields of a JSON object: how many are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lensllm.scores.asked import Asked
from lensllm.scores.base import Answer, Score
from lensllm.scores.json_valid import INVALID, read_json
from lensllm.text import counted, shortened


class JsonFields(Score):
    """Share of fields that are right, the mean over examples; 0 where the answer is no JSON object.

    Of the fields that the answer or the reference has at the top, the part that both have with equal values. Values are
    compared whole: numbers by value (1 is 1.0), texts and lists exactly, objects whatever the order of their fields.

    >>> JsonFields().values([Answer("", '{"name": "Ada", "born": 1816}', '{"name": "Ada", "born": 1815}')])
    [0.5]
    """

    name = "json_fields"
    unit = "share of JSON fields that are right"

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """The share of each."""
        return [_share(read_json(one.completion), read_json(one.reference)) for one in answers]

    def lacks(self, asked: Sequence[Asked], labels: Sequence[str]) -> str:
        """References that are JSON objects."""
        bad = [one for one in asked if not isinstance(read_json(one.reference), dict)]
        if not bad:
            return ""
        where = f"{bad[0].example.place}: " if bad[0].example.place else ""
        return (
            f"json_fields needs references that are JSON objects: {where}{shortened(repr(bad[0].reference), 80)} is "
            f"none ({len(bad):,} of {counted(len(asked), 'reference')})"
        )


def _share(written: Any, wanted: Any) -> float:
    if not isinstance(written, dict) or not isinstance(wanted, dict):
        return 0.0
    fields = written.keys() | wanted.keys()
    right = sum(same(written.get(name, INVALID), wanted.get(name, INVALID)) for name in fields)
    return right / len(fields) if fields else 1.0


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)
