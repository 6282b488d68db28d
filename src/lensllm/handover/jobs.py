"""Training the winner, and merging its adapter: the run of a rung, with what it trained kept."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensllm.handover.claim import CHECKPOINTS, check_claim, steps_file
from lensllm.handover.steps import StepsWritten
from lensllm.records import Record
from lensllm.tuning.candidate_job import CandidateJob
from lensllm.tuning.fine_tune import FineTune, fine_tune
from lensllm.tuning.run import Run

if TYPE_CHECKING:
    from lensllm.tuning.context import Context

MERGED = "merged"


@dataclass(frozen=True)
class Train(FineTune):
    """A run whose model is kept and which goes on where it was interrupted.

    Attributes:
        folder: of the model, absolute; its checkpoints lie inside until the run is done.
        base: what an adapter is told to be for.
        revision: of that.
        save_steps: steps between two checkpoints, below 1 a part of all.
        progress: whether steps are told on stderr.
        watched: whether they are written into a file, for a driver on another machine.
        claim: of the folder, for this try.
    """

    folder: str = ""
    base: str = ""
    revision: str = ""
    save_steps: float = 0.1
    progress: bool = False
    watched: bool = False
    claim: str = ""

    def check_here(self) -> None:
        """The folder is the one that was claimed."""
        check_claim(Path(self.folder), self.claim)

    def record(self, context: Context) -> Run:
        """Load, train, measure, save."""
        from lensllm.handover.save import save_trained
        from lensllm.tuning.checkpoints import Checkpoints
        from lensllm.tuning.step_progress import StepProgress

        checkpoints = Checkpoints(Path(self.folder, CHECKPOINTS), self.save_steps, before_save=self.check_here)
        if self.progress:
            checkpoints.on_step = StepProgress(self.label)
        elif self.watched:
            checkpoints.on_step = StepsWritten(steps_file(Path(self.folder), self.claim))

        def keep(model: Any) -> None:
            self.check_here()
            save_trained(model, self.candidate, self.base, self.revision, Path(self.folder))

        rung = (self.examples, self.learning_rate, self.previous_validation_loss)
        options: dict[str, Any] = {"scoring": self.scoring, "at_once": self.at_once}
        return fine_tune(self.encoded(context), *rung, checkpoints=checkpoints, keep=keep, **options)


@dataclass(frozen=True)
class Merge(CandidateJob):
    """An adapter added to its base, saved as one model, and that measured.

    Attributes:
        folder: of the adapter, absolute; the model comes into a folder inside.
        claim: of the folder, for this try.
    """

    record_type = Run

    folder: str = ""
    claim: str = ""

    def check_here(self) -> None:
        """The folder is the one that was claimed."""
        check_claim(Path(self.folder), self.claim)

    def key_parts(self) -> list[Any]:
        """The adapter's folder and its base."""
        return ["merge", self.folder, self.candidate.fingerprint]

    def record(self, context: Context) -> Record:
        """Load, merge, save, measure the loss on the test."""
        from lensllm.handover.save import merged_model, save_merged
        from lensllm.tuning.device import device
        from lensllm.tuning.in_training import measure

        started, encoded = time.perf_counter(), self.encoded(context)
        model = merged_model(self.candidate, Path(self.folder), self.training_config.dtype)
        save_merged(model, self.candidate, Path(self.folder, MERGED))
        model = model.to(device())
        meter = encoded.meter(model, replace(self.candidate.unquantised).method)
        found = measure(model, encoded, "test", meter)
        return Run(
            self.candidate.name,
            self.examples,
            "done",
            nats_per_token=found.nats_per_token,
            nats_per_byte=found.nats_per_byte,
            standard_error=found.standard_error,
            flops=meter.total,
            seconds=time.perf_counter() - started,
        )


def spec_of(job: Train) -> str:
    """What tells a training from others, so that none goes on from another's checkpoints."""
    return json.dumps({"job": job.key, "examples": job.examples, "candidate": job.candidate.name})
