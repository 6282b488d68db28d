"""What scoring leaves in the record of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ScoreValue:
    """One score of one run.

    Attributes:
        value: over all scored examples; NaN if the score failed.
        standard_error: of the value over examples; NaN if the score failed.
        examples: how many were scored.
        failed: for how many no value could be told; one is enough for the whole score to have none.
        error: why.
    """

    value: float = float("nan")
    standard_error: float = float("nan")
    examples: int = 0
    failed: int = 0
    error: str = ""

    @property
    def shown(self) -> str:
        """Value and standard error, as tables have it; empty if the score failed.

        >>> ScoreValue(0.6125, 0.0296, 271).shown
        '0.613±0.030'
        """
        if not math.isfinite(self.value):
            return ""
        return f"{self.value:.3f}" + (f"±{self.standard_error:.3f}" if math.isfinite(self.standard_error) else "")


@dataclass(frozen=True)
class Sample:
    """One answer to look at: prompt and reference as they were given, and what the model wrote or chose."""

    prompt: str
    completion: str
    reference: str


@dataclass(frozen=True)
class Kept:
    """The second task, on which nothing is trained, as one run left it.

    Attributes:
        nats_per_byte: loss there; NaN if it could not be measured.
        standard_error: of that over examples.
        examples: how many the loss was measured on.
        scores: those that apply there, by name.
        error: why nothing could be measured.
    """

    nats_per_byte: float = float("nan")
    standard_error: float = float("nan")
    examples: int = 0
    scores: dict[str, ScoreValue] = field(default_factory=dict)
    error: str = ""
