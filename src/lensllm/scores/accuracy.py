"""Accuracy: the likeliest label is the right one."""

from __future__ import annotations

from collections.abc import Sequence

from lensllm.scores.asked import MOST_LABELS, SEEN, Asked
from lensllm.scores.base import Answer, Score


class Accuracy(Score):
    """Share of examples whose label is the one that the model finds likeliest.

    The label with the largest sum of log-probabilities of its tokens and the end token, given the prompt, as
    lm-evaluation-harness's `acc` for multiple choice; nothing is generated. There is no normalisation by length: with
    the end token the sum is the probability of answering this label and nothing else.

    >>> Accuracy().of([Answer("fine", " yes", " yes"), Answer("poor", " yes", " no")]).value
    0.5
    """

    name = "accuracy"
    unit = "share of labels that are right"

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """1 where the chosen label is the reference."""
        return [float(one.completion.strip() == one.reference.strip()) for one in answers]

    def chooses(self, labels: Sequence[str]) -> bool:
        """Always."""
        return True

    def lacks(self, asked: Sequence[Asked], labels: Sequence[str]) -> str:
        """Labels."""
        if labels:
            return ""
        return (
            f"accuracy needs a task with labels (2 to {MOST_LABELS} different completions, each {SEEN} times or more "
            "in the training examples), and this one has none: take exact_match"
        )
