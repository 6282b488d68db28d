"""What every measurement leaves behind: a record, whatever was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

from pydantic import TypeAdapter, ValidationError

Status = Literal["done", "failed", "diverged"]
FINAL: tuple[Status, ...] = ("done", "diverged")
"""What is not measured again. A failed run may have met a full disk or another's memory; a diverged one would diverge
again."""


@dataclass(frozen=True)
class Record:
    """One thing measured on one candidate; `Run`, `Probe` and `BoundTerms` extend it.

    Attributes:
        kind: what was measured, the same for all records of a class.
        candidate: its name.
        examples: number of examples that it was measured with.
        status: done, diverged (the loss became infinite or not a number) or failed.
        flops: floating-point operations that it took, failed tries included.
        seconds: wall-clock time of the same.
        error: why it failed or diverged.
    """

    kind: ClassVar[str]

    candidate: str
    examples: int
    status: Status
    _: KW_ONLY
    flops: float = 0.0
    seconds: float = 0.0
    error: str = ""

    @property
    def final(self) -> bool:
        """Whether it is kept for good: a failed one is measured again by the next command."""
        return self.status in FINAL

    @property
    def untimed(self) -> Self:
        """The same with every time 0: what is bit-equal whenever and wherever it is measured again on one processor."""
        times: dict[str, Any] = {one.name: 0.0 for one in fields(self) if one.name.endswith("seconds")}
        return replace(self, **times)

    def features(self) -> dict[str, float]:
        """What it tells of its candidate beside losses, by column of `Curves.features`; nothing unless said."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Its fields in types that JSON knows (NaN and infinity included, as Python writes them)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """The record that `to_dict` gave these fields of.

        Raises:
            ValueError: if a field is missing or has a value of another type.

        >>> from lensllm.tuning.run import Run
        >>> Run.from_dict(Run("gpt2", 50, "done", nats_per_byte=1.2).to_dict()).nats_per_byte
        1.2
        """
        try:
            return TypeAdapter(cls).validate_python(dict(told))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error
