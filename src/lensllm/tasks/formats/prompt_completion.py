"""A prompt and the completion to learn: texts as they are, or lists of turns."""

from __future__ import annotations

from lensllm.tasks.conversation import Turn
from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.formats.turns import chat, is_turns, pair, turns_of
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example


def example(row: Cells) -> Example | None:
    """Both texts unchanged; of turns, what the assistant says in the completion is learned."""
    return joined(row, "prompt", "completion")


def joined(row: Cells, prompt: str, completion: str) -> Example | None:
    """The example of two columns, each of which holds a text or turns."""
    values = row.row.values
    if not is_turns(values.get(prompt)) and not is_turns(values.get(completion)):
        return pair(row, row.text(prompt), row.text(completion))
    answer = _turns(row, completion, Turn("assistant", "", learned=True))
    return chat(row, (*_turns(row, prompt, Turn("user", "")), *answer)) if answer else None


def _turns(row: Cells, column: str, one: Turn) -> tuple[Turn, ...]:
    """The turns of a column; a text is one turn of this kind."""
    if is_turns(row.row.values.get(column)):
        return turns_of(row, column, learn=one.learned)
    text = row.text(column)
    return (Turn(one.role, text, one.learned),) if text else ()


LAYOUT = Layout("prompt + completion", ("prompt", "completion"), example, may=("system", "tools"))
