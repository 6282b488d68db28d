"""The job of probing one candidate before any training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lensllm.probes.record import PROBE_VERSION, Probe
from lensllm.tuning.candidate_job import CandidateJob

if TYPE_CHECKING:
    from lensllm.tuning.context import Context


@dataclass(frozen=True)
class Measure(CandidateJob):
    """Probe a candidate on the first so many examples of the nested subsets."""

    record_type = Probe

    def key_parts(self) -> list[Any]:
        """Version, task, model, subset, length, size, how pairs are written, the method and what its adapters are drawn
        by; other settings change nothing."""
        config = self.training_config
        parts = ["probe", PROBE_VERSION, self.task.fingerprint, self.candidate.fingerprint]
        adapters = [*method, config.seed] if (method := self.method_key()) else []
        return [
            *parts,
            config.subset_seed,
            config.max_length,
            self.examples,
            *self.chat_key(config.chat),
            *adapters,
        ]

    @property
    def label(self) -> str:
        """Candidate and what is done with it."""
        return f"{self.candidate.name}, probe of {self.examples:,} examples"

    def record(self, context: Context) -> Probe:
        """Load and probe."""
        from lensllm.probes.measure import measure

        return measure(self.candidate, self.encoded(context).train(self.examples), self.training_config.seed).probe
