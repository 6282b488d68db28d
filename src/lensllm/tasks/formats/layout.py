"""What a column layout is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example


@dataclass(frozen=True)
class Layout:
    """A layout of columns.

    Attributes:
        title: its columns, as a user would name them.
        needs: columns that a file of this layout has.
        example: what a row says; None, or an empty completion, leaves the row out.
        may: columns that it reads where they are there.
        note: what is to be said of every file of this layout.
    """

    title: str
    needs: tuple[str, ...]
    example: Callable[[Cells], Example | None]
    may: tuple[str, ...] = ()
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it reads."""
        return self.needs + self.may
