"""What an executor runs: something to be measured once, known by a key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from lensllm.records import Record


@dataclass(frozen=True)
class Estimate:
    """What a job is expected to take, before it runs.

    Attributes:
        flops: floating-point operations; NaN where nothing is known yet (a model that was never run).
    """

    flops: float = float("nan")


UNKNOWN = Estimate()
"""Nothing is known yet."""


@dataclass(frozen=True)
class Lost:
    """A job whose worker died, so that there is no record.

    Attributes:
        reason: what is known of the death.
    """

    reason: str


class Job(ABC):
    """One measurement to make: `FineTune`, `Measure` (a probe) and `BoundOf` are jobs.

    A job is a value that can be pickled. It imports torch only when it runs, and running it twice gives the same
    record but for the seconds.

    Attributes:
        record_type: the class of its record.
        estimate: what it is expected to take.
    """

    record_type: ClassVar[type[Record]]
    estimate: Estimate

    @property
    @abstractmethod
    def key(self) -> str:
        """SHA-256 of everything that changes its result."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What it is called in progress and error messages."""

    @abstractmethod
    def run(self, context: Any) -> Record:
        """Measure.

        Args:
            context: what a worker keeps between jobs (`lensllm.tuning.context.Context`).

        Raises:
            Exception: anything; whoever runs the job makes `failed` of it.
        """

    @abstractmethod
    def failed(self, error: str) -> Record:
        """The record of a try that ended with this error."""
