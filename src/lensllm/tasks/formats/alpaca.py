"""Alpaca: an instruction, perhaps an input or a context, and the answer to learn."""

from __future__ import annotations

from collections.abc import Callable

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.formats.turns import pair
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example


def instruction_with(given: str, answer: str) -> Callable[[Cells], Example | None]:
    """A reader: instruction and what is given, a line each, are the prompt."""

    def example(row: Cells) -> Example | None:
        said = [part for part in (row.text("instruction"), row.text(given)) if part]
        return pair(row, "".join(part + "\n" for part in said), row.text(answer))

    return example


LAYOUTS = tuple(
    Layout(
        f"instruction (+ {given}) + {answer}",
        ("instruction", answer),
        instruction_with(given, answer),
        may=(given, "system"),
    )
    for given, answer in (("input", "output"), ("context", "response"))
)
