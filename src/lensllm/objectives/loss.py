"""The loss a byte of completion: comparable between tokenizers."""

from __future__ import annotations

import math

from lensllm.objectives.base import Objective
from lensllm.tuning.run import Run


class Loss(Objective):
    """Negative log-probability of the test completions, in nats a byte of their text.

    >>> Loss().format(1.0987)
    '1.099 nats/byte'
    """

    name = "loss"
    unit = "nats per byte of completion"
    ceiling = math.log(256)

    def read(self, run: Run) -> tuple[float, float]:
        """`Run.nats_per_byte` and its standard error."""
        return (run.nats_per_byte, run.standard_error) if run.status == "done" else (math.nan, math.nan)

    def format(self, value: float) -> str:
        """Three decimals: two seeds differ by about 0.003 (docs/evidence.md)."""
        return f"{value:.3f} nats/byte"
