"""Plain text: all of it is learned."""

from __future__ import annotations

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example


def example(row: Cells) -> Example | None:
    """The text as a completion without a prompt."""
    return Example("", row.text("text"))


LAYOUT = Layout("text", ("text",), example)
