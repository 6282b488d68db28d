"""What answers are worth beside their loss, one score a file."""

from __future__ import annotations

from lensllm.errors import InputError
from lensllm.scores.accuracy import Accuracy
from lensllm.scores.base import Answer, Score
from lensllm.scores.chrf import ChrF
from lensllm.scores.exact_match import ExactMatch
from lensllm.scores.f1 import F1
from lensllm.scores.function import UserFunction
from lensllm.scores.json_fields import JsonFields
from lensllm.scores.json_valid import JsonValid
from lensllm.scores.record import ScoreValue
from lensllm.scores.rouge_l import RougeL

SCORES: tuple[Score, ...] = (ExactMatch(), Accuracy(), F1(), RougeL(), ChrF(), JsonValid(), JsonFields())

__all__ = ["SCORES", "Answer", "Score", "ScoreValue", "UserFunction", "score_named"]


def score_named(name: str) -> Score:
    """The score of a name, or the user's function that `score.py:function` names.

    Raises:
        InputError: if there is no such score, file or function.

    >>> score_named("exact_match").unit
    'share of answers that equal the reference'
    """
    known = {score.name: score for score in SCORES}
    if name in known:
        return known[name]
    if ":" not in name:
        raise InputError(
            f"no score is named {name!r}: there are {', '.join(known)}, and path/to/score.py:function for your own"
        )
    return UserFunction.read(name)
