"""Classification: a text and its label."""

from __future__ import annotations

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Cells


def example(row: Cells) -> tuple[str, str]:
    """The text and a line break are the prompt, the label is the completion; a row without a text has nothing."""
    text = row.text("text")
    return (text + "\n", row.text("label")) if text else ("", "")


LAYOUT = Layout("text + label", ("text", "label"), example)
