"""Alpaca: an instruction, perhaps an input, and the output to learn."""

from __future__ import annotations

from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Cells


def example(row: Cells) -> tuple[str, str]:
    """Instruction and input, a line each, are the prompt; the output is the completion."""
    said = [part for part in (row.text("instruction"), row.text("input")) if part]
    return "".join(part + "\n" for part in said), row.text("output")


LAYOUT = Layout("instruction (+ input) + output", ("instruction", "output"), example, may=("input",))
