"""What was measured, found again: the base as it was, and what a run of the ladder inherits."""

from __future__ import annotations

from dataclasses import replace

from lensllm import zoo
from lensllm.candidates import Candidate, find_candidate
from lensllm.errors import InputError
from lensllm.provenance import CandidateOrigin

AGAIN = "put it back as it was, or select again"


def measured_base(source: CandidateOrigin) -> Candidate:
    """The base as it was measured.

    Raises:
        InputError: if it is gone or its files are others.
    """
    where = source.folder
    if source.hub_id:
        where = f"{source.hub_id}@{source.revision}" if source.revision else source.hub_id
    elif source.model in zoo.model_names():
        where = source.model
    found = replace(
        find_candidate(where),
        model_name_or_path=source.model,
        name=source.name,
        method=source.tuned_by(),
        chat_template=source.chat_template,
        variant=source.variant,
    )
    if found.fingerprint != source.fingerprint:
        raise InputError(
            f"{where} has changed since the selection (other weights, tokenizer or configuration), so its forecast "
            f"says nothing of it: {AGAIN}"
        )
    return found


def inherited(source: CandidateOrigin, examples: int) -> tuple[float | None, float | None]:
    """What a run of the ladder inherits: the learning rate and validation loss of the largest rung below.

    A rung that was measured is trained again at the rate that it came to; one below all others at that of the first.
    """
    tuned = sorted(size for size in source.rungs if size)
    below = [size for size in tuned if size <= examples]
    if not tuned:
        return None, None
    rung = source.rungs[below[-1] if below else tuned[0]]
    again = not below or below[-1] == examples
    return rung.learning_rate, None if again else rung.validation
