"""What is scored in a selection: checked before anything is trained, and a part of every run's key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lensllm.errors import InputError
from lensllm.scores import Score, score_named
from lensllm.scores.asked import Asked, all_asked, labels_of
from lensllm.tasks import Example, Task
from lensllm.text import counted

MARGIN = 16
"""Tokens that an answer may have beyond the longest reference."""
BYTES_A_TOKEN = 4
SCORING_VERSION = 1
"""Raised whenever a change of the code changes what a score measures."""


@dataclass(frozen=True)
class ScoredSet:
    """Scores, and the examples of one task that they are taken on.

    Attributes:
        scores: that apply.
        asked: the examples.
        labels: of the task; none if it has none.
    """

    scores: tuple[Score, ...] = ()
    asked: tuple[Asked, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def passes(self) -> float:
        """About what taking the scores costs, in forward passes over an average example.

        One for each label; in generating, the most that may be written in place of the example's own answer, in bytes.
        """
        chosen = len(self.labels) if any(score.chooses(self.labels) for score in self.scores) else 0
        passes = float(chosen * len(self.asked))
        if self.asked and not all(score.chooses(self.labels) for score in self.scores):
            prompts, references = (
                [len(text.encode()) for text in texts]
                for texts in ([one.prompt for one in self.asked], [one.reference for one in self.asked])
            )
            longest = max(references) + MARGIN * BYTES_A_TOKEN
            passes += sum(prompt + longest for prompt in prompts) * len(self.asked) / (sum(prompts) + sum(references))
        return passes

    def spec(self) -> list[Any]:
        """Everything that changes a value, in types that JSON knows."""
        examples = [[one.prompt, one.reference] for one in self.asked]
        return [
            [score.spec() for score in self.scores],
            hashlib.sha256(json.dumps([examples, self.labels]).encode()).hexdigest(),
            len(examples),
        ]


@dataclass(frozen=True)
class KeptTask:
    """A second task on which nothing is trained: what tuning takes away there is forgetting.

    Attributes:
        name: in tables.
        test: examples that the loss is measured on.
        scored: the scores that apply.
    """

    name: str
    test: tuple[Example, ...]
    scored: ScoredSet

    def spec(self) -> list[Any]:
        """Everything that changes a value, in types that JSON knows."""
        return [Task(self.name, (), (), self.test).fingerprint, *self.scored.spec()]


@dataclass(frozen=True)
class Scoring:
    """What is scored after each run.

    Attributes:
        scored: on the task's own test examples.
        kept: on a second task.
    """

    scored: ScoredSet
    kept: KeptTask | None = None

    @property
    def passes(self) -> float:
        """About what it costs, in forward passes over an example."""
        return self.scored.passes + (len(self.kept.test) + self.kept.scored.passes if self.kept else 0.0)

    def spec(self) -> list[Any]:
        """Part of the key of every run that is scored so."""
        return ["scores", SCORING_VERSION, self.scored.spec(), self.kept.spec() if self.kept else None]


def scored_set(task: Task, given: Sequence[str | Score], examples: int) -> tuple[ScoredSet, tuple[str, ...]]:
    """The scores of these names on the first test examples that ask something, and what is to be said of it.

    Args:
        task: whose test examples are scored.
        given: scores, or names of `SCORES` and `score.py:function`.
        examples: at most so many.

    Raises:
        InputError: if there is no such score, or the task has not what it needs.
    """
    if not given:
        return ScoredSet(), ()
    scores, labels = [_score(one) for one in dict.fromkeys(given)], labels_of(task.train)
    twice = [score.name for i, score in enumerate(scores) if score.name in [one.name for one in scores[:i]]]
    if twice:
        raise InputError(f"two scores are named {twice[0]}: give one of the files another name")
    asked = all_asked(task.test)
    if not asked:
        raise InputError(
            f"{', '.join(score.name for score in scores)}: no test example of {task.name} has both a prompt and an "
            "answer of the assistant to compare with, so nothing can be scored: leave --score out"
        )
    notes = []
    if len(asked) < len(task.test):
        notes.append(
            f"scores: {len(task.test) - len(asked):,} of {counted(len(task.test), 'test example')} have no prompt or "
            "no answer of the assistant and are not scored"
        )
    asked = asked[:examples]
    for score in scores:
        if lacking := score.lacks(asked, labels):
            raise InputError(lacking)
    if unknown := sum(one.reference not in labels for one in asked) if labels else 0:
        notes.append(
            f"scores: {unknown:,} of {counted(len(asked), 'scored example')} have a label that no training example "
            "has, which counts as wrong"
        )
    return ScoredSet(tuple(scores), tuple(asked), labels), tuple(notes)


def kept_task(
    name: str, test: Sequence[Example], training: Sequence[Example], given: Sequence[str | Score], most: tuple[int, int]
) -> tuple[KeptTask, tuple[str, ...]]:
    """The second task, with those of the scores that apply to it, and why others do not.

    Args:
        name: in tables.
        test: its examples, the first to be measured first.
        training: those that tell its labels.
        given: the scores asked for, or their names.
        most: numbers of examples that the loss is measured on, and that are scored.
    """
    whole = Task(name, tuple(training), (), tuple(test))
    scored, notes = ScoredSet(), list[str]()
    for one in dict.fromkeys(given):
        try:
            found, said = scored_set(whole, [one], most[1])
        except InputError as error:
            notes.append(f"{name} is not scored with {one if isinstance(one, str) else one.name}: {error}")
            continue
        scored = ScoredSet((*scored.scores, *found.scores), found.asked, found.labels)
        notes += [f"{name}: {note}" for note in said]
    return KeptTask(name, whole.test[: most[0]], scored), tuple(dict.fromkeys(notes))


def _score(given: str | Score) -> Score:
    return score_named(given) if isinstance(given, str) else given
