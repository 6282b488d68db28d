"""What the jobs on one candidate have in common."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lensllm.candidates import Candidate, NoTuning
from lensllm.jobs import UNKNOWN, Estimate, Job
from lensllm.records import Record
from lensllm.tasks import Task
from lensllm.tuning.large_tensors import map_large_tensors
from lensllm.tuning.quiet import quiet
from lensllm.tuning.training_config import TrainingConfig

if TYPE_CHECKING:
    from lensllm.tuning.context import Context
    from lensllm.tuning.encoded_task import EncodedTask


@dataclass(frozen=True)
class CandidateJob(Job):
    """Something measured on one candidate with some examples of a task.

    Attributes:
        candidate: what is measured.
        task: where the examples come from.
        training_config: how runs are trained and measured.
        examples: how many.
        estimate: what it is expected to take; no part of what it is.
    """

    candidate: Candidate
    task: Task
    training_config: TrainingConfig
    examples: int
    estimate: Estimate = UNKNOWN

    @cached_property
    def key(self) -> str:
        """SHA-256 of `key_parts` as JSON."""
        return hashlib.sha256(json.dumps(self.key_parts()).encode()).hexdigest()

    @property
    def before_training(self) -> bool:
        """Whether it measures the model as it came, the same however that will be tuned."""
        return False

    @cached_property
    def shared_key(self) -> str:
        """Alike for all candidates that are one model tuned in several ways, where that changes nothing; else `key`."""
        if not self.before_training:
            return self.key
        return replace(self, candidate=replace(self.candidate, method=self.untuned)).key

    @property
    def untuned(self) -> NoTuning:
        """What is measured before training: by default the model with all its weights."""
        return NoTuning()

    @abstractmethod
    def key_parts(self) -> list[Any]:
        """Everything that changes the result, in types that JSON knows."""

    def method_key(self) -> list[dict[str, Any]]:
        """The part of a key that says how the model is tuned; none for full tuning."""
        return [spec] if (spec := self.candidate.method.spec()) else []

    def chat_key(self, chat: str) -> list[str]:
        """The part of a key that says how pairs are written; none where that can only be as plain text."""
        return [f"chat {chat}"] if chat != "auto" or self.candidate.has_chat_template else []

    def check_here(self) -> None:
        """Look whether the machine that this is called on has what the job needs beside its model: by default nothing.

        Raises:
            InputError: if it lacks something that another machine may have.
        """

    def run(self, context: Context) -> Record:
        """Measure, with transformers kept quiet and, of large models, no freed tensors kept."""
        map_large_tensors(sum(tensor.size for tensor in self.candidate.tensors.values()))
        with quiet():
            return self.record(context)

    @abstractmethod
    def record(self, context: Context) -> Record:
        """Measure."""

    @property
    def label(self) -> str:
        """Candidate and number of examples."""
        return f"{self.candidate.name} on {self.examples:,} examples"

    def failed(self, error: str) -> Record:
        """A failed record with the error and nothing else."""
        return self.record_type(self.candidate.name, self.examples, "failed", error=error)

    def encoded(self, context: Context) -> EncodedTask:
        """The task as the candidate reads it."""
        return context.encoded(self.candidate, self.task, self.training_config)
