"""F1: of the words of an answer, or over labels."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lensllm.scores.base import Answer, Score
from lensllm.scores.record import ScoreValue

Integers = NDArray[np.intp]

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
DRAWS = 1000
SEED = 0


class F1(Score):
    """F1 of words for answers in words (SQuAD); where the task has labels, their macro F1.

    Words: the harmonic mean of precision and recall of the words of an answer, counted with repeats, after lower case,
    without ASCII punctuation and the articles a, an, the, as SQuAD's evaluation script does (Rajpurkar et al. 2016);
    the mean over examples. Where one of both has no words, 1 if neither has.

    Labels: the unweighted mean over labels of 2 TP / (2 TP + FP + FN) for the likeliest label (`Accuracy`), as
    scikit-learn's `f1_score(average="macro")`; a label that neither stands in the references nor was chosen is left
    out. Its standard error is that of a bootstrap over examples: 1,000 draws, seed 0.

    >>> F1().values([Answer("Who?", "The queen of France", "a queen")])  # of 3 words 1 is right, of 1 word 1
    [0.5]
    """

    name = "f1"
    unit = "F1 of words, or macro F1 of labels"

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """F1 of words."""
        return [words_f1(one.completion, one.reference) for one in answers]

    def of(self, answers: Sequence[Answer], labels: Sequence[str] = ()) -> ScoreValue:
        """The mean, or the macro F1 of labels."""
        if not labels or not answers:
            return super().of(answers)
        texts = [one.completion.strip() for one in answers] + [one.reference.strip() for one in answers]
        chosen, right = np.unique(texts, return_inverse=True)[1].reshape(2, -1)
        draws = np.random.default_rng(SEED).integers(len(answers), size=(DRAWS, len(answers)))
        error = np.std([macro_f1(chosen[draw], right[draw]) for draw in draws], ddof=1)
        return ScoreValue(macro_f1(chosen, right), float(error), len(answers))

    def chooses(self, labels: Sequence[str]) -> bool:
        """Where there are labels."""
        return bool(labels)


def macro_f1(chosen: Integers, right: Integers) -> float:
    """The mean over labels of 2 TP / (2 TP + FP + FN).

    Args:
        chosen: number of the label of each example, from 0.
        right: of its reference.
    """
    hits = np.bincount(right[chosen == right], minlength=max(chosen.max(), right.max()) + 1)
    there = np.bincount(chosen, minlength=len(hits)) + np.bincount(right, minlength=len(hits))
    return float(np.mean(2 * hits[there > 0] / there[there > 0]))


def words_f1(completion: str, reference: str) -> float:
    """F1 of the words of two texts."""
    written, wanted = _words(completion), _words(reference)
    if not written or not wanted:
        return float(written == wanted)
    shared = sum((Counter(written) & Counter(wanted)).values())
    return 2 * shared / (len(written) + len(wanted))


def _words(text: str) -> list[str]:
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()
