"""Conversations: `messages` as TRL and OpenAI write them, `conversations` as ShareGPT does."""

from __future__ import annotations

from collections.abc import Callable

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.formats.turns import chat, turns_of
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example

BESIDE = ("system", "tools", "functions")


def turns_in(column: str) -> Callable[[Cells], Example | None]:
    """A reader of the turns in this column; all that the assistant says is learned."""

    def example(row: Cells) -> Example | None:
        return chat(row, turns_of(row, column))

    return example


LAYOUTS = tuple(
    Layout(column, (column,), turns_in(column), may=BESIDE)
    for column in ("messages", "conversations", "conversation", "dialogue")
)
