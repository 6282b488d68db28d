"""Pairs under other names: a question and its answer, a prompt and its response, an input and its output."""

from __future__ import annotations

from collections.abc import Callable

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.formats.prompt_completion import joined
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example

NAMES = (
    ("question", "answer"),
    ("prompt", "response"),
    ("input", "output"),
    ("query", "response"),
    ("question", "response"),
    ("user", "assistant"),
)


def pair_in(prompt: str, completion: str) -> Callable[[Cells], Example | None]:
    """A reader of the pairs in these columns."""

    def example(row: Cells) -> Example | None:
        return joined(row, prompt, completion)

    return example


LAYOUTS = tuple(
    Layout(f"{first} + {second}", (first, second), pair_in(first, second), may=("system",)) for first, second in NAMES
)
