"""A prompt and the completion to learn, as they are."""

from __future__ import annotations

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Cells


def example(row: Cells) -> tuple[str, str]:
    """Both texts unchanged."""
    return row.text("prompt"), row.text("completion")


LAYOUT = Layout("prompt + completion", ("prompt", "completion"), example)
