"""Plain text: all of it is learned."""

from __future__ import annotations

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Cells


def example(row: Cells) -> tuple[str, str]:
    """The text as a completion without a prompt."""
    return "", row.text("text")


LAYOUT = Layout("text", ("text",), example)
