"""Exact match: the answer is the reference."""

from __future__ import annotations

from collections.abc import Sequence

from lensllm.scores.base import Answer, Score


class ExactMatch(Score):
    """Share of answers that equal the reference; only white space around both is left out.

    >>> ExactMatch().values([Answer("1 plus 1 is", " 2\\n", " 2"), Answer("The sun is a", "Star", "star")])
    [1.0, 0.0]
    """

    name = "exact_match"
    unit = "share of answers that equal the reference"

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """1 where both are the same text."""
        return [float(one.completion.strip() == one.reference.strip()) for one in answers]
