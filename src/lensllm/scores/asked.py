"""What is asked of a model and what it should answer, and whether the answers are a few labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lensllm.tasks import Example

MOST_LABELS = 50
SEEN = 3
"""A label stands in the training split several times; a completion that does not is text."""


@dataclass(frozen=True)
class Asked:
    """An example as scores see it.

    Attributes:
        prompt: what is given, as text.
        reference: what should be answered.
        example: the same to be encoded: of a conversation, the last turn of the assistant alone is learned.
    """

    prompt: str
    reference: str
    example: Example

    def answered(self, text: str) -> Example:
        """The example with another answer in place of the reference."""
        example = self.example
        if example.conversation is None:
            return replace(example, completion=text)
        *before, last = example.conversation.turns
        said = replace(example.conversation, turns=(*before, replace(last, content=text)))
        return replace(Example.of(said), file=example.file, number=example.number)


def asked_of(example: Example) -> Asked | None:
    """What an example asks: its completion, or the last turn of the assistant after all that stands before it.

    None if there is nothing to ask with (plain text) or nothing to compare with.

    >>> asked_of(Example("1 plus 1 is", " 2")).reference
    ' 2'
    >>> asked_of(Example("", "Plain text."))
    """
    said = example.conversation
    if said is None:
        there = example.prompt.strip() and example.completion.strip()
        return Asked(example.prompt, example.completion, example) if there else None
    last = max((i for i, turn in enumerate(said.turns) if turn.role == "assistant"), default=0)
    if not last or not said.turns[last].full_text:
        return None
    turns = tuple(replace(turn, learned=i == last) for i, turn in enumerate(said.turns[: last + 1]))
    alone = replace(Example.of(replace(said, turns=turns)), file=example.file, number=example.number)
    return Asked(alone.prompt, turns[last].full_text, alone)


def all_asked(examples: Iterable[Example]) -> list[Asked]:
    """What those examples ask that ask something."""
    return [asked for example in examples if (asked := asked_of(example))]


def labels_of(training: Sequence[Example]) -> tuple[str, ...]:
    """The labels of a task: the different answers in its training split, sorted.

    None where these are not labels: fewer than two or more than `MOST_LABELS` different ones, one that stands there
    fewer than `SEEN` times, examples without a prompt, or turns that call tools or reason.

    >>> labels_of([Example("good", " yes"), Example("bad", " no")] * 3)
    (' no', ' yes')
    >>> labels_of([Example(f"{i} plus 1 is", f" {i + 1}") for i in range(100)])
    ()
    """
    seen: Counter[str] = Counter()
    for example in training:
        asked = asked_of(example)
        if asked is None or (example.conversation and not asked.example.conversation.turns[-1].content_only):  # type: ignore[union-attr]
            return ()
        seen[asked.reference] += 1
        if len(seen) > MOST_LABELS:
            return ()
    return tuple(sorted(seen)) if len(seen) > 1 and min(seen.values()) >= SEEN else ()
