"""Examples too long for a candidate are left out for all candidates alike: all are measured on the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lensllm.candidates import Candidate
from lensllm.candidates.load import context_length, load_tokenizer
from lensllm.tasks import Example, Task
from lensllm.tasks.encode import MOST_LEFT_OUT, EncodedSplit, encode_split
from lensllm.text import counted, listed
from lensllm.tuning.training_config import TrainingConfig

SPLITS = ("train", "validation", "test")
SURE = 8
"""A token has a byte or more, so what has fewer bytes than there is room for, less this for special tokens, fits."""
LOOKED_AT = 300


def fit_all(task: Task, candidates: Sequence[Candidate], training_config: TrainingConfig) -> Task:
    """The task without the examples whose completion is too long for one of the candidates, with notes on them.

    A candidate for which more than a tenth of a split is too long takes none away from the others: it is refused by
    itself when it is encoded. So is one whose tokenizer cannot be loaded.

    Args:
        task: as it was read.
        candidates: all that are to be measured.
        training_config: tells the longest example.
    """
    dropped: dict[str, set[int]] = {split: set() for split in SPLITS}
    notes = []
    for candidate in candidates:
        found = _fit(task, candidate, training_config)
        if found is None:
            continue
        places, cut, room = found
        if any(len(places[split]) > MOST_LEFT_OUT * len(getattr(task, split)) for split in SPLITS if places[split]):
            continue
        for split in SPLITS:
            if new := [getattr(task, split)[i] for i in places[split]]:
                notes.append(_said(new, len(getattr(task, split)), split, candidate.name, room))
            dropped[split].update(places[split])
        if cut:
            seen = min(LOOKED_AT, len(task.test))
            prompts = "prompt" if seen == 1 else "prompts"
            notes.append(f"{candidate.name} reads {cut:,} of {seen:,} test {prompts} without their beginning")
    train, validation, test = (
        tuple(example for i, example in enumerate(getattr(task, split)) if i not in dropped[split]) for split in SPLITS
    )
    return replace(task, train=train, validation=validation, test=test, notes=(*task.notes, *notes))


def _fit(
    task: Task, candidate: Candidate, training_config: TrainingConfig
) -> tuple[dict[str, list[int]], int, int] | None:
    """Places that are too long by split, test prompts that are cut, and the room; None if nothing can be told."""
    try:
        tokenizer = load_tokenizer(candidate)
        limit = min(training_config.max_length, context_length(candidate, tokenizer))
        room = 0
        places: dict[str, list[int]] = {}
        for split in SPLITS:
            examples: tuple[Example, ...] = getattr(task, split)
            long = [i for i, e in enumerate(examples) if e.n_bytes > limit - SURE]
            made = _encoded([examples[i] for i in long], tokenizer, candidate, limit)
            places[split] = [long[i] for i in made.left_out]
            room = max(room, made.room)
        looked = [e for e in task.test[:LOOKED_AT] if e.n_bytes + len(e.prompt.encode()) > limit - SURE]
        return places, _encoded(looked, tokenizer, candidate, limit).prompts_cut, room
    except Exception:
        return None


def _encoded(examples: list[Example], tokenizer: object, candidate: Candidate, limit: int) -> EncodedSplit:
    return encode_split(examples, tokenizer, encoder_decoder=candidate.encoder_decoder, max_length=limit)


def _said(left_out: list[Example], of: int, split: str, candidate: str, room: int) -> str:
    where = [example.place for example in left_out if example.place]
    lines = f" ({listed(where, 3)})" if where else ""
    word = "training" if split == "train" else split
    have, are = ("has a completion", "is") if len(left_out) == 1 else ("have completions", "are")
    return (
        f"{len(left_out):,} of {counted(of, f'{word} example')} {have} longer than the {room:,} tokens that "
        f"{candidate} has room for and {are} left out for all candidates{lines}"
    )
