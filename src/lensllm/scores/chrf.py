"""chrF: n-grams of characters."""

from __future__ import annotations

from collections.abc import Sequence

from lensllm.scores.base import Answer, Score


class ChrF(Score):
    """F-score of n-grams of characters, n up to 6, beta 2, over 100 (Popović 2015): sacrebleu's `chrF2`.

    The mean of each example's own score, not sacrebleu's corpus score, which pools the n-grams of all examples; a mean
    has a standard error and gives a short answer the weight of a long one.

    >>> [round(value, 3) for value in ChrF().values([Answer("", "the cat", "the cat"), Answer("", "a dog", "the cat")])]
    [1.0, 0.045]
    """

    name = "chrf"
    unit = "chrF2 over 100, mean over examples"

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """sacrebleu's score of each, between 0 and 1."""
        from sacrebleu.metrics import CHRF

        scorer = CHRF()
        return [scorer.sentence_score(one.completion, [one.reference]).score / 100 for one in answers]
