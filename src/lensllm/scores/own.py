"""A score that a Python program hands over: a function, or an object of a class of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import Any

from lensllm.errors import InputError
from lensllm.scores.asked import Asked
from lensllm.scores.base import Answer, Score
from lensllm.scores.function import UserFunction
from lensllm.scores.own_text import whole_text
from lensllm.scores.record import ScoreValue


@dataclass(frozen=True)
class OwnScore(Score):
    """A score whose class is text: that text is what runs, in the process of the run, and a part of the key.

    Attributes:
        text: of the class, which runs by itself.
        kind: name of the class.
        settings: JSON of the object's attributes.

    >>> text = '''
    ... from lensllm.scores import Score
    ... class Brief(Score):
    ...     name, unit = "brief", "share of short answers"
    ...     def values(self, answers):
    ...         return [float(len(one.completion) <= self.most) for one in answers]
    ... '''
    >>> score = OwnScore(text, "Brief", '{"most": 4}')
    >>> score.name, score.of([Answer("Why?", "So.", ""), Answer("Why?", "It rained.", "")]).value
    ('brief', 0.5)
    """

    text: str
    kind: str
    settings: str = "{}"

    @property
    def _made(self) -> Score:
        return _object(self.text, self.kind, self.settings)

    @property
    def name(self) -> str:  # type: ignore[override]
        """As the object says."""
        return self._made.name

    @property
    def unit(self) -> str:  # type: ignore[override]
        """As the object says."""
        return self._made.unit

    @property
    def floor(self) -> float:  # type: ignore[override]
        """As the object says."""
        return self._made.floor

    @property
    def ceiling(self) -> float:  # type: ignore[override]
        """As the object says."""
        return self._made.ceiling

    def values(self, answers: Sequence[Answer]) -> list[float]:
        """As the object says."""
        return self._made.values(answers)

    def of(self, answers: Sequence[Answer], labels: Sequence[str] = ()) -> ScoreValue:
        """As the object says."""
        return self._made.of(answers, labels)

    def chooses(self, labels: Sequence[str]) -> bool:
        """As the object says."""
        return self._made.chooses(labels)

    def lacks(self, asked: Sequence[Asked], labels: Sequence[str]) -> str:
        """As the object says."""
        return self._made.lacks(asked, labels)

    def spec(self) -> list[Any]:
        """Name, SHA-256 of the text, and the attributes."""
        return [self.name, hashlib.sha256(self.text.encode()).hexdigest(), json.loads(self.settings)]


@lru_cache(maxsize=64)
def _object(text: str, kind: str, settings: str) -> Score:
    made: dict[str, Any] = {"__name__": "score"}
    exec(compile(text, f"{kind} (score)", "exec"), made)
    score: Score = object.__new__(made[kind])
    score.__dict__.update(json.loads(settings))
    return score


def own_score(given: Callable[..., Any] | Score) -> UserFunction | OwnScore:
    """The score that a Python program gave: its text, which goes to every worker and is a part of each run's key.

    A function `function(prompt=..., completion=..., reference=...)` runs as one of a file does (`UserFunction`).

    Args:
        given: a function written with `def`, or an object of a class of the program's own.

    Raises:
        InputError: if it is neither, its text cannot be read whole, or the object's attributes are no plain values.

    >>> def brief(prompt, completion, reference):
    ...     return len(completion) <= 4
    >>> own_score(brief).name
    'brief.py:brief'
    """
    kind = type(given) if isinstance(given, Score) else given
    name = getattr(kind, "__name__", type(given).__name__)
    if not isinstance(kind, FunctionType | type) or name == "<lambda>" or not isinstance(given, Score | FunctionType):
        raise InputError(
            f"score {name}: expected a name, a function written with def, or an object of a subclass of "
            "lensllm.scores.Score"
        )
    try:
        text = whole_text(kind)
    except InputError as error:
        raise InputError(f"score {name}: {error}") from error
    if isinstance(given, FunctionType):
        return UserFunction(f"{name}.py", name, text)
    return _checked(OwnScore(text, name, _settings(name, given)))


def _settings(name: str, given: Score) -> str:
    held = getattr(given, "__dict__", {})
    try:
        written = json.dumps(held, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        written = ""
    if not written or json.loads(written) != held:
        raise InputError(f"score {name}: its attributes {sorted(held)} have to be numbers, texts or lists of them")
    return written


def _checked(score: OwnScore) -> OwnScore:
    """The score, if its text runs by itself and it says what every score says."""
    try:
        said = (score.name, score.unit, float(score.floor), float(score.ceiling))
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"score {score.kind}: its text does not run by itself: {told}") from error
    if not (isinstance(said[0], str) and said[0] and isinstance(said[1], str)):
        raise InputError(f"score {score.kind}: its name and unit have to be texts, got {said[0]!r} and {said[1]!r}")
    return score
