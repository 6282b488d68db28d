"""The scores of a model after a run: what it answers, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from lensllm.errors import InputError
from lensllm.scores import Answer, Score
from lensllm.scores.asked import Asked
from lensllm.scores.record import Kept, Sample, ScoreValue
from lensllm.scores.scoring import MARGIN, KeptTask, ScoredSet, Scoring
from lensllm.tasks.encode import encode_with
from lensllm.tasks.encoded import IGNORED, Encoded, Reader
from lensllm.tasks.plain import ends
from lensllm.text import shortened
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.generate import Prompt, generate
from lensllm.tuning.label_likelihood import likeliest_labels
from lensllm.tuning.loss import evaluate

SAMPLES = 3
LONGEST = 2000
"""Characters of a text of a sample; of a longer one both ends are kept."""


@dataclass
class _Answers:
    """What one model answered: nothing is asked before a score needs it, nor twice."""

    model: PreTrainedModel
    of: ScoredSet
    reader: Reader
    meter: FlopMeter
    autocast: bool
    known: dict[bool, list[Answer] | ScoreValue] = field(default_factory=dict)

    def score(self, score: Score) -> ScoreValue:
        """The score of its answers, or why there are none."""
        chosen = score.chooses(self.of.labels)
        if chosen not in self.known:
            self.known[chosen] = self._answered(self._chosen if chosen else self._generated)
        answers = self.known[chosen]
        if isinstance(answers, ScoreValue):
            return answers
        try:
            return score.of(answers, self.of.labels)
        except Exception as error:
            return self._failed(error)

    @property
    def samples(self) -> list[Sample]:
        """The first of the answers it wrote; of a model that only chose, those."""
        lists = [found for key in (False, True) if isinstance(found := self.known.get(key), list)]
        texts = ((one.prompt, one.completion, one.reference) for one in (lists[0] if lists else [])[:SAMPLES])
        return [Sample(*(shortened(text, LONGEST) for text in of)) for of in texts]

    def _answered(self, ask: Callable[[], Sequence[str]]) -> list[Answer] | ScoreValue:
        try:
            texts = ask()
        except Exception as error:
            return self._failed(error)
        return [Answer(one.prompt, text, one.reference) for one, text in zip(self.of.asked, texts, strict=True)]

    def _failed(self, error: Exception) -> ScoreValue:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        count = len(self.of.asked)
        return ScoreValue(examples=count, failed=count, error=f"{kind}{' '.join(str(error).split())}")

    def _chosen(self) -> list[str]:
        asked, labels = self.of.asked, self.of.labels
        return likeliest_labels(self.model, asked, labels, self.reader, self.meter, autocast=self.autocast)

    def _generated(self) -> list[str]:
        return completions(self.model, self.of.asked, self.reader, self.meter, autocast=self.autocast)


def scored_fields(
    model: PreTrainedModel, reader: Reader, scoring: Scoring | None, meter: FlopMeter, *, autocast: bool = False
) -> dict[str, Any]:
    """The fields of a run that scoring fills: `scores`, `samples`, `kept`, `scoring_flops`; none if nothing is scored.

    Whatever goes wrong is the failure of a score, not of the run.

    Args:
        model: after the run.
        reader: of its candidate.
        scoring: what is scored.
        meter: charged for it.
        autocast: compute products in bfloat16, as the run's test loss was.
    """
    if scoring is None:
        return {}
    before = meter.total
    answers = _Answers(model, scoring.scored, reader, meter, autocast)
    scores = {score.name: answers.score(score) for score in scoring.scored.scores}
    kept = kept_of(model, scoring.kept, reader, meter, autocast=autocast) if scoring.kept else None
    return {"scores": scores, "samples": answers.samples, "kept": kept, "scoring_flops": meter.total - before}


def kept_of(
    model: PreTrainedModel, kept: KeptTask, reader: Reader, meter: FlopMeter, *, autocast: bool = False
) -> Kept:
    """Loss and scores on the second task."""
    try:
        examples = encode_with(kept.test, reader, 0.0)
        charge = partial(meter.charge, training=False)
        with torch.inference_mode():
            loss = evaluate(model, examples, autocast=autocast, observe=charge)
        if not math.isfinite(loss.nats):
            raise ArithmeticError("its loss there is not finite")
    except Exception as error:
        return Kept(error=" ".join(str(error).split()))
    answers = _Answers(model, kept.scored, reader, meter, autocast)
    scores = {score.name: answers.score(score) for score in kept.scored.scores}
    return Kept(loss.nats_per_byte, loss.standard_error, len(examples), scores)


def completions(
    model: PreTrainedModel, asked: Sequence[Asked], reader: Reader, meter: FlopMeter, *, autocast: bool = False
) -> list[str]:
    """What a model writes, greedily, behind all that stands before what the loss counts.

    Of a conversation that is the template's prompt for the last turn, with the words that the template itself begins
    such a turn with (an empty block of reasoning).

    It ends at an end token of the tokenizer, of the model's settings or of the template's turns, or after as many
    tokens as the longest reference has and `MARGIN` more; earlier where the model reads no more at once.
    """
    prompts, stops = prompts_of(asked, reader)
    written = generate(model, prompts, stops, meter, autocast=autocast)
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    return [reader.tokenizer.decode(ids, **options) for ids in written]


def prompts_of(asked: Sequence[Asked], reader: Reader) -> tuple[list[Prompt], list[int]]:
    """What a model is given, with the tokens that it may write, and the ids that end an answer."""
    encoded = encode_with([one.example for one in asked], reader, 0.0)
    most = max(one.n_targets for one in encoded) + MARGIN
    return [_prompt(one, reader, most) for one in encoded], _end_tokens(encoded, reader)


def _prompt(encoded: Encoded, reader: Reader, most: int) -> Prompt:
    if reader.encoder_decoder:
        return Prompt(encoded.input_ids, min(most, reader.max_length))
    first = next(i for i, label in enumerate(encoded.labels) if label != IGNORED)
    return Prompt(encoded.input_ids[:first], min(most, reader.max_length - first))


def _end_tokens(encoded: Sequence[Encoded], reader: Reader) -> list[int]:
    """Those known to end an answer, and control tokens that references end with."""
    last = {one.labels[max(i for i, label in enumerate(one.labels) if label != IGNORED)] for one in encoded}
    control = {reader.tokenizer.convert_tokens_to_ids(token) for token in reader.template.control_tokens}
    return sorted({*ends(reader.tokenizer)[1], *reader.ends, *(last & control)})
