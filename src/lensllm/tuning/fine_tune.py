"""One fine-tuning run: choose a learning rate if need be, train, measure, account."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from lensllm.candidates import NoTuning
from lensllm.jobs import Estimate
from lensllm.records import Record
from lensllm.scores.scoring import Scoring
from lensllm.tuning.candidate_job import CandidateJob
from lensllm.tuning.run import Run
from lensllm.tuning.tracking import TrackedRun, Tracking

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lensllm.tuning.attempts import Attempt
    from lensllm.tuning.checkpoints import Checkpoints
    from lensllm.tuning.context import Context
    from lensllm.tuning.encoded_task import EncodedTask
    from lensllm.tuning.learning_rate import Tuned
    from lensllm.tuning.loss import Evaluation

TRAINING_VERSION = 2
"""Raised whenever a change of the code changes what a run measures, so that old records are not mistaken for new."""


@dataclass(frozen=True)
class FineTune(CandidateJob):
    """The job of one run: fine-tune on so many examples, or measure the model as it came (zero-shot) with 0.

    Attributes:
        learning_rate: its peak; None if it is to be chosen.
        previous_validation_loss: of the rung before, which a larger one should come below; None at the first.
        scoring: what is scored after it; None for nothing.
        at_once: what fits into memory, where that was planned; no part of what it is.
        tracking: which trackers hear of it; no part of what it is.
    """

    record_type = Run

    learning_rate: float | None = None
    previous_validation_loss: float | None = None
    scoring: Scoring | None = None
    at_once: Attempt | None = None
    tracking: Tracking | None = None

    def key_parts(self) -> list[Any]:
        """Version, task, model, training, size, what the rung before left; the method's settings, and how pairs are
        written, where there is a choice; what is scored, if anything is."""
        config = self.training_config.spec()
        chat = self.chat_key(config.pop("chat"))
        parts = [TRAINING_VERSION, self.task.fingerprint, self.candidate.fingerprint, config]
        scored = self.scoring.spec() if self.scoring else []
        rung = [self.examples, self.learning_rate, self.previous_validation_loss]
        return [*parts, *rung, *self.method_key(), *chat, *scored]

    @property
    def before_training(self) -> bool:
        """With 0 examples."""
        return self.examples == 0

    @property
    def untuned(self) -> NoTuning:
        """The base as the method loads it."""
        return self.candidate.method.untuned

    def record(self, context: Context) -> Run:
        """Load, train, measure."""
        rung = (self.examples, self.learning_rate, self.previous_validation_loss)
        tracked = TrackedRun(self.tracking, f"{self.candidate.name}-{self.examples}") if self.tracking else None
        run = Run(self.candidate.name, self.examples, "failed")
        try:
            run = fine_tune(self.encoded(context), *rung, scoring=self.scoring, at_once=self.at_once, tracked=tracked)
        finally:
            if tracked:
                tracked.end(_told(run))
        return run

    def next(self, run: Record, examples: int, estimate: Estimate) -> Self | None:
        """The job of the next rung, which inherits learning rate and validation loss.

        After a run that failed or diverged there is none: a candidate climbs on what it has reached. The first rung
        has nothing to inherit.

        Args:
            run: what this job came to.
            examples: of the next rung.
            estimate: of the next job.
        """
        if run.status != "done":
            return None
        assert isinstance(run, Run)
        if self.examples == 0:
            return replace(self, examples=examples, estimate=estimate)
        return replace(
            self,
            examples=examples,
            estimate=estimate,
            learning_rate=run.learning_rate,
            previous_validation_loss=run.validation,
        )


def fine_tune(
    encoded: EncodedTask,
    examples: int,
    learning_rate: float | None = None,
    previous_validation_loss: float | None = None,
    *,
    scoring: Scoring | None = None,
    at_once: Attempt | None = None,
    checkpoints: Checkpoints | None = None,
    tracked: TrackedRun | None = None,
    keep: Callable[[PreTrainedModel], None] = lambda model: None,
) -> Run:
    """Fine-tune the candidate on the first `examples` of the task and measure its test loss.

    With 0 examples the model is measured as it came. Without a learning rate, those of the training configuration are
    tried; with one, a lower one is tried as well if the validation loss does not come below
    `previous_validation_loss`. The one with the lowest validation loss is kept; every trial is charged.

    Args:
        encoded: the candidate and the task.
        examples: D.
        learning_rate: its peak; None to choose.
        previous_validation_loss: validation loss of the rung before, nats a byte.
        scoring: what is scored once the test loss is measured.
        at_once: what is tried first; less where memory does not suffice.
        checkpoints: where the training goes on if it was interrupted; None for one that is not to be.
        tracked: hears of the trainings; None where nobody does.
        keep: called with the model that was measured, which is not kept otherwise.

    Returns:
        A run that is done or diverged.

    Raises:
        InputError: if the model cannot be loaded or an example does not fit it.
    """
    from lensllm.tuning.in_training import InTraining
    from lensllm.tuning.learning_rate import Tuned, tune
    from lensllm.tuning.measure_scores import scored_fields

    started = time.perf_counter()
    encoded.split("test")
    model = InTraining(encoded, examples, at_once, checkpoints=checkpoints, tracked=tracked)
    config, tuned = model.config, Tuned()
    if examples:
        base = config.learning_rate or encoded.candidate.method.base_learning_rate(model.parameters)
        rates = [base * part for part in config.learning_rate_trials] if learning_rate is None else [learning_rate]
        tuned = tune(model, rates, previous_validation_loss)
    before_test = model.meter.total
    result = model.measure("test") if tuned.learned or not examples else None
    test_flops, scored = model.meter.total - before_test, dict[str, Any]()
    if measured := result is not None and math.isfinite(result.nats):
        autocast = config.dtype == "bfloat16"
        scored = scored_fields(model.model, encoded.reader, scoring, model.meter, autocast=autocast)
        keep(model.model)
    return replace(
        _run_of(encoded, tuned, result if measured else None),
        examples=examples,
        learning_rate=tuned.learning_rate or learning_rate or 0.0,
        flops=model.meter.total,
        test_flops=test_flops,
        seconds=time.perf_counter() - started + (checkpoints.earlier_seconds if checkpoints else 0.0),
        training_flops=model.training_flops,
        training_seconds=model.training_seconds,
        tokens=model.meter.tokens,
        parameters=model.parameters,
        trained_parameters=model.trained_parameters,
        lost=result.lost / result.n_bytes if result else 0.0,
        test_nats=list(result.charged) if measured and result and not examples else [],
        estimated=model.meter.estimated,
        **scored,
    )


def _told(run: Run) -> dict[str, float]:
    """What a tracker hears of a run, the names as Trainer gives them where it has one; finite numbers alone."""
    told = {
        "eval_loss": run.nats_per_token,
        "eval_nats_per_byte": run.nats_per_byte,
        "eval_validation_nats_per_byte": run.validation,
        "train_samples": float(run.examples),
        "found_learning_rate": run.learning_rate,
        "flops": run.flops,
    }
    return {name: value for name, value in told.items() if math.isfinite(value)}


def _run_of(encoded: EncodedTask, tuned: Tuned, result: Evaluation | None) -> Run:
    """The record but for what it took."""
    config = encoded.training_config
    names = ("nats_per_token", "nats_per_byte", "standard_error")
    return Run(
        candidate=encoded.candidate.name,
        examples=0,
        status="done" if result else "diverged",
        validation=tuned.validation if math.isfinite(tuned.validation) else math.nan,
        trials=tuned.trials if len(tuned.trials) > 1 else [],
        seed=config.seed,
        subset_seed=config.subset_seed,
        error="" if result else tuned.error or "the test loss is not finite",
        **({name: getattr(result, name) for name in names} if result else {}),
    )
