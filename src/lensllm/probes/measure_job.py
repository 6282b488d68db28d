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
        """Version, task, model, subset, length, size, how pairs are written, method; other settings change nothing."""
        config = self.training_config
        parts = ["probe", PROBE_VERSION, self.task.fingerprint, self.candidate.fingerprint]
        return [
            *parts,
            config.subset_seed,
            config.max_length,
            self.examples,
            *self.chat_key(config.chat),
            *self.method_key(),
        ]

    @property
    def before_training(self) -> bool:
        """The probe is of the model as it came, and of all its weights, whichever of them are then tuned."""
        return True

    @property
    def label(self) -> str:
        """Candidate and what is done with it."""
        return f"{self.candidate.name}, probe of {self.examples:,} examples"

    def record(self, context: Context) -> Probe:
        """Load and probe."""
        from lensllm.probes.measure import measure

        return measure(self.candidate, self.encoded(context).train(self.examples)).probe
