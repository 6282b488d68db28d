"""Hold examples out: no prompt on two sides where the prompts allow it, and a word where they do not."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from lensllm.tasks.task import Example
from lensllm.text import counted

FAR = 1.5
"""A part held out may be this many times the size asked for, or one over it."""


@dataclass(frozen=True)
class HeldOut:
    """A part held out and the rest, each in the order of the file; `note` says how, where not by whole prompts."""

    held: list[Example]
    rest: list[Example]
    note: str = ""


def hold_out(examples: list[Example], size: int, rng: np.random.Generator, name: str) -> HeldOut:
    """About `size` examples, drawn by whole prompts (for plain text: texts).

    A prompt with so many rows that its group alone would go far beyond the size stays on the other side. Where the
    prompts left cannot make up the size, rows are drawn, equal rows together.
    """
    by_prompt = _drawn(examples, size, rng, lambda e: (e.prompt or e.completion).casefold())
    if by_prompt is not None:
        held, skipped = by_prompt
        note = f"prompts of too many rows to be held out for the {name} stay in training" if skipped else ""
        return _parted(examples, held, note)
    prompts = len({e.prompt.casefold() for e in examples})
    why = f"the {len(examples):,} rows have {counted(prompts, 'different prompt')}, too few to hold whole ones out"
    by_row = _drawn(examples, size, rng, lambda e: (e.prompt, e.completion))
    if by_row is not None:
        return _parted(
            examples, by_row[0], f"{why} for the {name}: rows are held out, and their prompts are trained on too"
        )
    held = set(map(int, rng.permutation(len(examples))[:size]))
    note = f"{why} for the {name}, and rows repeat: the same rows are held out and trained on"
    return _parted(examples, held, note)


def _drawn(
    examples: list[Example], size: int, rng: np.random.Generator, key: Callable[[Example], Hashable]
) -> tuple[set[int], bool] | None:
    """Places of whole groups that make up the size, and whether a large group was passed over; None if none do."""
    groups: dict[Hashable, list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault(key(example), []).append(i)
    places = list(groups.values())
    held: set[int] = set()
    skipped = False
    for k in rng.permutation(len(places)):
        if len(held) >= size:
            break
        if len(held) + len(places[k]) > max(FAR * size, size + 1):
            skipped = True
            continue
        held.update(places[k])
    return (held, skipped) if len(held) * FAR >= size and len(held) < len(examples) else None


def _parted(examples: list[Example], held: set[int], note: str) -> HeldOut:
    return HeldOut([examples[i] for i in sorted(held)], [e for i, e in enumerate(examples) if i not in held], note)
