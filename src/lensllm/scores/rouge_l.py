"""ROUGE-L: the longest common subsequence of words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lensllm.scores.asked import Asked
from lensllm.scores.base import Answer, Score
from lensllm.text import counted

READ = re.compile(r"[a-z0-9]")
MOST_UNREAD = 0.1


class RougeL(Score):
    """F-measure of the longest common subsequence of words, the mean over examples (Lin 2004).

    As the package `rouge-score` has it: lower case, words of a-z and 0-9, no stemming, the whole text as one sentence.

    >>> RougeL().values([Answer("", "the cat sat", "the dog sat")])  # 2 of 3 words, in their order
    [0.6666666666666666]
    """

    name = "rouge_l"
    unit = "ROUGE-L F-measure"

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """The F-measure of each."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], use_stemmer=False)
        return [float(scorer.score(one.reference, one.completion)["rougeL"].fmeasure) for one in answers]

    def lacks(self, asked: Sequence[Asked], labels: Sequence[str]) -> str:
        """References in letters that it reads, but for a tenth."""
        unread = sum(not READ.search(one.reference.lower()) for one in asked)
        if unread <= MOST_UNREAD * len(asked):
            return ""
        return (
            f"rouge_l reads the letters a to z and digits only, and {unread:,} of {counted(len(asked), 'reference')} "
            "have none of them: take chrf"
        )
