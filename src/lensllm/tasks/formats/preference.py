"""Preferences: the chosen answer is learned, the rejected one is not."""

from __future__ import annotations

from dataclasses import replace

from lensllm.tasks.conversation import Turn
from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.formats.turns import chat, is_turns, pair, turns_of
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example


def example(row: Cells) -> Example | None:
    """The prompt is its column, or else what both answers begin with."""
    values = row.row.values
    if is_turns(values.get("chosen")):
        return _of_turns(row)
    chosen, rejected = row.text("chosen"), row.text("rejected")
    if is_turns(values.get("prompt")):
        answer = (Turn("assistant", chosen, learned=True),) if chosen else ()
        return chat(row, (*turns_of(row, "prompt", learn=False), *answer)) if answer else None
    prompt = row.text("prompt") or _common_start(chosen, rejected)
    return pair(row, prompt, chosen.removeprefix(prompt))


def _of_turns(row: Cells) -> Example | None:
    chosen, rejected = turns_of(row, "chosen"), turns_of(row, "rejected")
    given = row.row.values.get("prompt")
    shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), len(chosen) - 1)
    turns = tuple(replace(turn, learned=turn.learned and i >= shared) for i, turn in enumerate(chosen))
    if is_turns(given):
        before = turns_of(row, "prompt", learn=False)
    elif turns[0].role == "assistant" and row.text("prompt"):
        before = (Turn("user", row.text("prompt")),)
    else:
        before = ()
    return chat(row, (*before, *turns))


def _common_start(chosen: str, rejected: str) -> str:
    """What both begin with, up to a space if they part within a word."""
    most = min(len(chosen), len(rejected))
    end = next((i for i in range(most) if chosen[i] != rejected[i]), most)
    if chosen[:end] and not chosen[:end][-1].isspace():
        end = max(chosen.rfind(" ", 0, end), chosen.rfind("\n", 0, end)) + 1
    return chosen[:end]


LAYOUT = Layout(
    "chosen + rejected (+ prompt)",
    ("chosen", "rejected"),
    example,
    may=("prompt", "system", "tools", "score_chosen", "score_rejected", "margin"),
    note="rows of preferences: what was chosen is learned, what was rejected is not read",
)
