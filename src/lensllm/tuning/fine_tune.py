"""One fine-tuning run: choose a learning rate if need be, train, measure, account."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from lensllm.candidates import NoTuning
from lensllm.jobs import Estimate
from lensllm.records import Record
from lensllm.tuning.candidate_job import CandidateJob
from lensllm.tuning.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
    """

    record_type = Run

    learning_rate: float | None = None
    previous_validation_loss: float | None = None

    def key_parts(self) -> list[Any]:
        """Version, task, model, training, size, what the rung before left; the method's settings, and how pairs are
        written, where there is a choice."""
        config = asdict(self.training_config)
        chat = self.chat_key(config.pop("chat"))
        parts = [TRAINING_VERSION, self.task.fingerprint, self.candidate.fingerprint, config]
        return [*parts, self.examples, self.learning_rate, self.previous_validation_loss, *self.method_key(), *chat]

    @property
    def before_training(self) -> bool:
        """With 0 examples."""
        return self.examples == 0

    def record(self, context: Context) -> Run:
        """Load, train, measure."""
        return fine_tune(self.encoded(context), self.examples, self.learning_rate, self.previous_validation_loss)

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
        keep: called with the model that was measured, which is not kept otherwise.

    Returns:
        A run that is done or diverged.

    Raises:
        InputError: if the model cannot be loaded or an example does not fit it.
    """
    import torch

    from lensllm.candidates.load import load_model
    from lensllm.tuning.learning_rate import Tuned, measure, tune

    started = time.perf_counter()
    encoded.split("test")
    model = load_model(encoded.candidate)
    if torch.cuda.is_available():
        model.to("cuda")
    parameters = sum(p.numel() for p in model.parameters())
    method = encoded.candidate.method if examples else NoTuning()
    model = method.prepare(model, encoded.training_config.seed)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) if examples else 0
    meter = encoded.meter(model, method)
    if examples == 0:
        tuned = Tuned(model)
    else:
        base, trials = method.base_learning_rate(parameters), encoded.training_config
        rates = [base * part for part in trials.learning_rate_trials] if learning_rate is None else [learning_rate]
        tuned = tune(encoded, model, examples, rates, previous_validation_loss, meter)
    before_test = meter.total
    result = measure(tuned.model, encoded, "test", meter) if tuned.model is not None else None
    if measured := result is not None and math.isfinite(result.nats):
        keep(tuned.model)
    return replace(
        _run_of(encoded, tuned, result if measured else None),
        examples=examples,
        learning_rate=tuned.learning_rate or learning_rate or 0.0,
        flops=meter.total,
        test_flops=meter.total - before_test,
        seconds=time.perf_counter() - started,
        tokens=meter.tokens,
        parameters=parameters,
        trained_parameters=trained,
        lost=result.lost / result.n_bytes if result else 0.0,
        estimated=meter.estimated,
    )


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
