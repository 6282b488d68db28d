"""What a training came to, beside what was forecast of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

UNIT = "nats/byte"


@dataclass(frozen=True)
class Outcome:
    """One number that was measured, and what was forecast of it.

    Attributes:
        measure: `loss`, or the name of a score.
        reached: measured on the test.
        standard_error: of that over test examples; None where it is not known.
        forecast: of it; None where none was made.
        interval: 90 % interval of the forecast.

    >>> reached = Outcome("loss", 1.41, 0.01, 1.45, (1.38, 1.52))
    >>> reached.inside, reached.told
    (True, 'loss 1.410 nats/byte, forecast 1.450 (90 % interval 1.380 to 1.520): inside')
    """

    measure: str
    reached: float
    standard_error: float | None = None
    forecast: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def inside(self) -> bool | None:
        """Whether it lies in its interval; None where there is none."""
        return None if self.interval is None else self.interval[0] <= self.reached <= self.interval[1]

    @property
    def told(self) -> str:
        """In words."""
        unit = f" {UNIT}" if self.measure == "loss" else ""
        said = f"{self.measure} {self.reached:.3f}{unit}"
        if self.interval is None or self.forecast is None:
            return f"{said}, no forecast"
        where = "inside"
        if not self.inside:
            where = "below it" if self.reached < self.interval[0] else "above it"
        low, high = self.interval
        return f"{said}, forecast {self.forecast:.3f} (90 % interval {low:.3f} to {high:.3f}): {where}"


@dataclass(frozen=True)
class Trained:
    """A model that was trained after a selection.

    Attributes:
        folder: of the model or the adapter, for `from_pretrained`.
        candidate: its name in the selection.
        method: how it was tuned.
        examples: that it was trained on.
        outcomes: the loss, then the scores of the selection.
        learning_rate: the peak that was used.
        validation: loss on the validation examples, nats a byte.
        steps: optimizer steps of one training.
        flops: of everything it took.
        seconds: of the same, interrupted tries included as far as their checkpoints reach.
        merged: folder of the model with the adapter merged into it; None if that was not asked for.
        merged_loss: of that on the test, nats a byte.
        notes: what is other than it was in the selection.
    """

    folder: Path
    candidate: str
    method: str
    examples: int
    outcomes: tuple[Outcome, ...]
    learning_rate: float
    validation: float
    steps: int
    flops: float
    seconds: float
    merged: Path | None = None
    merged_loss: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def loss(self) -> Outcome:
        """The loss on the test."""
        return self.outcomes[0]

    @property
    def sentence(self) -> str:
        """What was reached, in one sentence."""
        return f"{self.candidate} trained on {self.examples:,} examples: {self.loss.told}."

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows."""
        places = {"folder": str(self.folder), "merged": str(self.merged) if self.merged else None}
        outcomes = [{**asdict(one), "inside": one.inside} for one in self.outcomes]
        return {**asdict(self), **places, "outcomes": outcomes, "notes": list(self.notes), "sentence": self.sentence}
