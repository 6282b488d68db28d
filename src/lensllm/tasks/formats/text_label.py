"""Classification: a text and its label."""

from __future__ import annotations

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example


def example(row: Cells) -> Example | None:
    """The text and a line break are the prompt, the label is the completion; a row without a text has nothing."""
    text = row.text("text")
    return Example(text + "\n", row.text("label")) if text else None


LAYOUT = Layout("text + label", ("text", "label"), example)
