"""What scoring a model takes, foretold from the lengths of what it is asked: no weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lensllm.errors import InputError
from lensllm.scores.scoring import ScoredSet, Scoring
from lensllm.tasks.encode import encode_with
from lensllm.tasks.encoded import Encoded, Reader, collate
from lensllm.tuning.flops import generation_terms, pass_terms
from lensllm.tuning.generate import BATCH, Prompt, at_once
from lensllm.tuning.loss import first_labelled, keeps_logits, most_at_once
from lensllm.tuning.measure_scores import prompts_of
from lensllm.tuning.used_parameters import UsedParameters

EVALUATED = 32
"""Rows of a batch whose likelihoods are measured (`lensllm.tuning.loss.example_nats`)."""


@dataclass(frozen=True)
class ScoringCost:
    """What the scores of one run take, where every answer is as long as it may be.

    Attributes:
        written: answers that are generated.
        most_tokens: that one of them may have: those of the longest reference and a margin.
        compared: labels whose likelihoods are measured, one for each example and label, and examples of a second task.
        generation_flops: of writing.
        likelihood_flops: of measuring likelihoods.
    """

    written: int = 0
    most_tokens: int = 0
    compared: int = 0
    generation_flops: float = 0.0
    likelihood_flops: float = 0.0

    @property
    def flops(self) -> float:
        """All of them."""
        return self.generation_flops + self.likelihood_flops

    def __add__(self, other: ScoringCost) -> ScoringCost:
        """Both."""
        return ScoringCost(
            self.written + other.written,
            max(self.most_tokens, other.most_tokens),
            self.compared + other.compared,
            self.generation_flops + other.generation_flops,
            self.likelihood_flops + other.likelihood_flops,
        )


def scoring_cost(scoring: Scoring, reader: Reader, model: Any, used: UsedParameters) -> ScoringCost:
    """The cost of a run's scores, batch by batch as they are taken.

    Args:
        scoring: what is scored.
        reader: of the candidate.
        model: whose shapes count; its tensors may have no numbers.
        used: how many parameters a token is multiplied with.
    """
    cost = _of_set(scoring.scored, reader, model, used)
    if scoring.kept:
        try:
            tested = encode_with(scoring.kept.test, reader, 0.0)
        except InputError:
            return cost
        cost += ScoringCost(compared=len(tested), likelihood_flops=_likelihoods(tested, model, used))
        cost += _of_set(scoring.kept.scored, reader, model, used)
    return cost


def _of_set(of: ScoredSet, reader: Reader, model: Any, used: UsedParameters) -> ScoringCost:
    """Nothing where an answer does not fit the model: such a score fails before anything is computed."""
    cost, chosen = ScoringCost(), [score.chooses(of.labels) for score in of.scores]
    try:
        if any(chosen):
            rows = encode_with([one.answered(label) for one in of.asked for label in of.labels], reader, 0.0)
            cost += ScoringCost(compared=len(rows), likelihood_flops=_likelihoods(rows, model, used))
        if not all(chosen):
            prompts, _ = prompts_of(of.asked, reader)
            most = max(prompt.most for prompt in prompts)
            cost += ScoringCost(len(prompts), most, generation_flops=_generation(prompts, model, used))
    except InputError:
        return cost
    return cost


def _likelihoods(examples: Sequence[Encoded], model: Any, used: UsedParameters) -> float:
    ordered = sorted(examples, key=lambda one: len(one.input_ids) + len(one.labels))
    flops, done = 0.0, 0
    while done < len(ordered):
        waiting = ordered[done : done + EVALUATED]
        batch = collate(waiting[: most_at_once(model, waiting)])
        rows, length = batch["input_ids"].shape
        kept = batch["labels"].shape[1]
        if not model.config.is_encoder_decoder:
            kept = length - first_labelled(batch["labels"]) if keeps_logits(model) else length
        flops += rows * float(pass_terms(length, kept, model.config.is_encoder_decoder) @ used.forward)
        done += rows
    return flops


def _generation(prompts: Sequence[Prompt], model: Any, used: UsedParameters) -> float:
    ordered = sorted(prompts, key=lambda one: (len(one.ids), one.most))
    batches, done = [], 0
    while done < len(ordered):
        waiting = ordered[done : done + BATCH]
        chosen = waiting[: at_once(model, waiting, padded=True)]
        batches.append((len(chosen), len(chosen[-1].ids), chosen[0].most))
        done += len(chosen)
    if len(ordered[0].ids) < len(ordered[-1].ids):  # whether padding changes anything is looked at
        batches += [(1, len(ordered[0].ids), 1), (2, len(ordered[-1].ids), 1)]
    both, keeps = model.config.is_encoder_decoder, keeps_logits(model)
    return sum(rows * float(generation_terms(length, new, keeps, both) @ used.forward) for rows, length, new in batches)
