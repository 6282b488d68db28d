"""The job of one bound: fine-tune as a run does, and bound what came of it.

What moves is what the method trains: all weights, or adapters from where they were drawn without the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lensllm.theory.bound import Bound, Per, bound
from lensllm.tuning.fine_tune import FineTune, fine_tune
from lensllm.tuning.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lensllm.tuning.context import Context

BOUND_VERSION = 1
"""Raised whenever a change of the code changes the terms of a bound, so that old records are not mistaken for new."""


@dataclass(frozen=True)
class BoundTerms(Run):
    """A run with the bound of the model that it made.

    Attributes:
        bound: its terms; None if the run diverged.
    """

    kind = "bound"

    bound: Bound | None = None


@dataclass(frozen=True)
class BoundOf(FineTune):
    """Fine-tune on so many examples and bound the test loss.

    Attributes:
        clip: C, losses above it count as C; without it C is the largest loss seen.
        per: what a layer is.
    """

    record_type = BoundTerms

    clip: float | None = None
    per: Per = "block"

    def key_parts(self) -> list[Any]:
        """As the run's, with the bound's own settings."""
        return ["bound", BOUND_VERSION, *super().key_parts(), self.clip, self.per]

    def record(self, context: Context) -> BoundTerms:
        """Train as `FineTune` does, then bound the model.

        Raises:
            InputError: as `fine_tune` and `bound`.
        """
        from lensllm.candidates.load import load_model

        encoded = self.encoded(context)
        kept: list[PreTrainedModel] = []
        run = fine_tune(encoded, self.examples, self.learning_rate, self.previous_validation_loss, keep=kept.append)
        if not kept:
            return BoundTerms(**vars(run))
        kept[0].set_attn_implementation("eager")
        start = self.candidate.method.prepare(load_model(self.candidate), self.training_config.seed)
        pretrained = {name: p.detach() for name, p in start.named_parameters() if p.requires_grad}
        train, test = encoded.train(self.examples), encoded.split("test")
        found = bound(self.candidate.name, pretrained, kept[0], train, test, clip=self.clip, per=self.per)
        return BoundTerms(**vars(run), bound=found)
