"""A candidate that comes in while a search runs: how it is let in, and what the log keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter

from lensllm.candidates import Candidate
from lensllm.search.journal import Entrant

if TYPE_CHECKING:
    from lensllm.tuning.attempts import Attempt


@dataclass(frozen=True)
class Admitted:
    """A candidate that was let in.

    Attributes:
        candidate: itself.
        entrant: what the log keeps of it.
        at_once: what fits into memory, where that was planned.
        notes: what is to be said of it.
    """

    candidate: Candidate
    entrant: Entrant
    at_once: Attempt | None = None
    notes: tuple[str, ...] = ()


Admit = Callable[[str, str, Sequence[Candidate]], Admitted]
"""From a model, a method ("" for the default) and the candidates that there are; raises InputError with the reason."""


@dataclass(frozen=True)
class Joined:
    """A candidate from the decision on that first knew of it.

    Attributes:
        entrant: as it was let in.
        flops: forecast FLOPs of every run, one a rung.
        probe_flops: forecast FLOPs of its probe; 0 where none is made.
    """

    entrant: Entrant
    flops: tuple[float, ...]
    probe_flops: float = 0.0

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What a line of the log says.

        Raises:
            ValueError: if it is none.
        """
        made: Self = TypeAdapter(cls).validate_python(dict(fields))
        return made
