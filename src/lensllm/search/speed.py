"""How long a candidate's runs take, from those that it made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from lensllm.tuning.run import Run


@dataclass(frozen=True)
class Speed:
    """Seconds of a run: those beside training, which do not grow with the examples, and FLOPs over FLOPs a second.

    Loading, the first step and measuring take as long at 6,400 examples as at 50, where they are much of a small
    model's run (`python -m evidence time-foretold`).

    Attributes:
        flops_a_second: in training; NaN where nothing was measured.
        seconds_beside: of a run at one learning rate, for all but the steps after the first.
        flops_beside: of the same.
    """

    flops_a_second: float
    seconds_beside: float = 0.0
    flops_beside: float = 0.0

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Self:
        """What runs of one candidate, or of several alike, reached.

        What measuring the model as it came took is in every run once, what is left beside the steps once for each
        learning rate that it tried. Runs that did not finish are left out. Where none tells its steps apart (the model
        as it came, records of older versions) everything is taken for them.

        >>> run = Run("a", 50, "done", flops=1.2e9, seconds=3.0, training_flops=1e9, training_seconds=1.0)
        >>> Speed.of([run]).seconds(8.2e9)
        10.0
        """
        done = [run for run in runs if run.status == "done" and run.seconds > 0]
        told = [run for run in done if run.training_seconds > 0]
        if not told:
            whole = math.fsum(run.seconds for run in done)
            return cls(math.fsum(run.flops for run in done) / whole if done else math.nan)
        once = median([run.seconds for run in done if not run.examples] or [0.0])
        return cls(
            math.fsum(run.training_flops for run in told) / math.fsum(run.training_seconds for run in told),
            median(_beside(run, run.seconds - run.training_seconds, once) for run in told),
            median(_beside(run, run.flops - run.training_flops, run.test_flops + run.scoring_flops) for run in told),
        )

    def seconds(self, flops: float) -> float:
        """Of a run of so many FLOPs, evaluation and all."""
        return self.seconds_beside + max(flops - self.flops_beside, 0.0) / self.flops_a_second


def _beside(run: Run, beside: float, once: float) -> float:
    """Of a run at one learning rate, from one that tried several."""
    return min(once, beside) + max(beside - once, 0.0) / max(len(run.trials), 1)
