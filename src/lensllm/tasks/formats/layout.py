"""What a column layout is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lensllm.tasks.rows import Cells


@dataclass(frozen=True)
class Layout:
    """A layout of columns.

    Attributes:
        title: its columns, as a user would name them.
        needs: columns that a file of this layout has.
        example: prompt and completion of a row. An empty completion leaves the row out.
        may: columns that it reads where they are there.
    """

    title: str
    needs: tuple[str, ...]
    example: Callable[[Cells], tuple[str, str]]
    may: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it reads."""
        return self.needs + self.may
