"""What the test has in common with the training part: examples, examples but for case and spaces, long runs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lensllm.tasks.task import Example
from lensllm.text import counted, listed

WORDS = 13
CHARACTERS = 50
COMMON = 0.01
MOST_CHARACTERS = 50_000_000


@dataclass(frozen=True)
class Overlap:
    """Places, in two lists of examples, of what they have in common.

    Attributes:
        exact: of tested examples that are also trained on.
        alike: of those that are but for case and white space.
        runs: of others that share a run of 13 words (50 characters where there are fewer words).
        trained: of the trained examples that any of these were found in.
        whole: whether all of the training part was compared for runs.
    """

    exact: tuple[int, ...]
    alike: tuple[int, ...]
    runs: tuple[int, ...]
    trained: frozenset[int]
    whole: bool = True

    @property
    def any(self) -> bool:
        """Whether anything is in common."""
        return bool(self.exact or self.alike or self.runs)


def overlap(tested: Sequence[Example], trained: Sequence[Example]) -> Overlap:
    """What tested examples have in common with trained ones.

    A run that stands in more than one of a hundred trained examples (and in more than two) is a phrase of the task,
    an instruction say, and does not count.
    """
    exact = {(e.prompt, e.completion) for e in trained}
    plain = {_plain(e) for e in trained}
    same = [i for i, e in enumerate(tested) if (e.prompt, e.completion) in exact]
    rest = [i for i in range(len(tested)) if i not in set(same)]
    alike = [i for i in rest if _plain(tested[i]) in plain]
    left = [i for i in rest if i not in set(alike)]
    shared, holders, whole = _shared_runs([tested[i] for i in left], trained)
    found = {_plain(tested[i]) for i in (*same, *alike)}
    places = {j for j, e in enumerate(trained) if _plain(e) in found} | holders
    return Overlap(tuple(same), tuple(alike), tuple(left[i] for i in shared), frozenset(places), whole)


def said(found: Overlap, tested: Sequence[Example], of: str, into: str) -> list[str]:
    """Sentences on an overlap: how many examples, and the first of them."""
    kinds = (
        (found.exact, ("is", "are"), f"also in the {into} part"),
        (found.alike, ("is", "are"), f"in the {into} part but for case and spaces"),
        (found.runs, ("shares", "share"), f"a run of {WORDS} words or {CHARACTERS} characters with the {into} part"),
    )
    told = []
    for places, verbs, what in kinds:
        if places:
            where = [tested[i].place for i in places if tested[i].place]
            first = f" ({listed(where, 3)})" if where else ""
            verb = verbs[len(places) > 1]
            told.append(f"{len(places):,} of {counted(len(tested), f'{of} example')} {verb} {what}{first}")
    if not found.whole:
        told.append(f"only the first {MOST_CHARACTERS:,} characters of the {into} part were compared for runs of words")
    return told


def _plain(example: Example) -> str:
    """Prompt and completion without differences of case, white space and Unicode form."""
    text = unicodedata.normalize("NFC", f"{example.prompt}\x00{example.completion}").casefold()
    return " ".join(text.replace("\x00", " \x00 ").split())


def _runs(example: Example) -> Iterator[int]:
    """Hashes of all runs of words of the text; of characters where it has fewer words."""
    text = unicodedata.normalize("NFC", f"{example.prompt} {example.completion}").casefold()
    words = text.split()
    if len(words) >= WORDS:
        for i in range(len(words) - WORDS + 1):
            yield hash(tuple(words[i : i + WORDS]))
        return
    letters = "".join(words)
    for i in range(len(letters) - CHARACTERS + 1):
        yield hash(letters[i : i + CHARACTERS])


def _shared_runs(tested: Sequence[Example], trained: Sequence[Example]) -> tuple[list[int], set[int], bool]:
    """Places of tested examples with a run of the trained, places of the trained, and whether all were compared."""
    sought = {run for example in tested for run in _runs(example)}
    if not sought:
        return [], set(), True
    holders: dict[int, list[int]] = {}
    read = 0
    for j, example in enumerate(trained):
        read += len(example.prompt) + len(example.completion)
        if read > MOST_CHARACTERS:
            break
        for run in sought.intersection(_runs(example)):
            holders.setdefault(run, []).append(j)
    most = max(2, COMMON * len(trained))
    telling = {run: places for run, places in holders.items() if len(places) <= most}
    shared = [i for i, example in enumerate(tested) if not telling.keys().isdisjoint(_runs(example))]
    return shared, {j for places in telling.values() for j in places}, read <= MOST_CHARACTERS
