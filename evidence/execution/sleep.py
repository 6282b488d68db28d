"""A job that sleeps: in a module of its own, as 64 worker processes import it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run

SMALLEST = 50


@dataclass(frozen=True)
class Sleep(FineTune):
    """A run that takes its time and brings a loss that is known.

    Attributes:
        losses: as it came, and at each size.
        seconds: whatever the size.
        seconds_an_example: beside these.
    """

    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    seconds_an_example: float = 0.0

    def key_parts(self) -> list[Any]:
        """Candidate and size."""
        return [self.candidate.name, self.examples]

    def run(self, context: Any) -> Run:
        """Sleep, without what a run of a model imports."""
        seconds = self.seconds + self.seconds_an_example * self.examples
        time.sleep(seconds)
        loss = self.losses[0 if not self.examples else 1 + round(math.log2(self.examples / SMALLEST))]
        return Run(
            self.candidate.name, self.examples, "done", nats_per_token=loss, nats_per_byte=loss, test_flops=1e9,
            flops=1e9 * (1 + self.examples / 100), seconds=seconds, parameters=10**6, learning_rate=1e-3,
        )  # fmt: skip
