"""What does not fit one candidate is left out for all alike, so that all are measured on the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.tasks import Example, Task
from lensllm.tasks.encode import MOST_LEFT_OUT, EncodedSplit, encode_split
from lensllm.tasks.encoded import Reader
from lensllm.text import counted, listed
from lensllm.tuning.chat_notes import chat_notes
from lensllm.tuning.reader import reader_of
from lensllm.tuning.training_config import TrainingConfig

SPLITS = ("train", "validation", "test")
SURE = 8
"""A token has a byte or more, so what has fewer bytes than there is room for, less this for special tokens, fits."""
LOOKED_AT = 300


@dataclass
class _Unfit:
    """What does not fit one candidate.

    Attributes:
        reader: of the candidate.
        left_out: split -> places of the examples that are too long.
        dropped: split -> place of a conversation -> how many of its oldest exchanges do not fit.
        refused: split -> place of a conversation that the template refuses -> why.
        cut: prompts that lose their beginning, of the test examples looked at.
        room: tokens that a completion may have.
    """

    reader: Reader
    left_out: dict[str, list[int]] = field(default_factory=dict)
    dropped: dict[str, dict[int, int]] = field(default_factory=dict)
    refused: dict[str, dict[int, str]] = field(default_factory=dict)
    cut: int = 0
    room: int = 0

    @property
    def name(self) -> str:
        """Of the candidate."""
        return self.reader.model_name

    @property
    def why(self) -> str:
        """Why the candidate is refused if its template refuses conversations."""
        return (
            f"{self.name} cannot read this conversation: {self.first_refused} "
            f"({counted(self.count_refused, 'such conversation')} in all); mend them, leave them out with "
            f"--skip-bad-rows {self.count_refused}, or give another template with --chat-template"
        )

    @property
    def count_refused(self) -> int:
        """How many conversations the template refuses."""
        return sum(map(len, self.refused.values()))

    @property
    def first_refused(self) -> str:
        """Why it refuses the first of them."""
        return next(why for split in SPLITS for why in self.refused[split].values())


def fit_all(
    task: Task, candidates: Sequence[Candidate], training_config: TrainingConfig, skip_bad_rows: int = 0
) -> tuple[Task, dict[str, str]]:
    """The task without what is too long for one of the candidates, and who is refused.

    An example of which the learned part does not fit one candidate is left out for all; a conversation that would
    lose learned turns loses them for all. A candidate for which that is more than a tenth of a split, because it reads
    less at once than others, takes nothing away from them: it is refused by itself when it is encoded. So is one whose
    tokenizer cannot be loaded. Conversations that a candidate's template refuses are left out for all if so many may
    be; or else the candidate is refused.

    Args:
        task: as it was read.
        candidates: all that are to be measured.
        training_config: tells the longest example, and how pairs are written.
        skip_bad_rows: how many conversations that a template refuses may be left out.

    Returns:
        The task with notes on what was left out, and the name of each candidate that is refused -> why.

    Raises:
        InputError: if nothing is left of a split.
    """
    found = [unfit for candidate in candidates if (unfit := _unfit(task, candidate, training_config))]
    refused = {unfit.name: unfit.why for unfit in found if unfit.count_refused > skip_bad_rows}
    found = [unfit for unfit in found if unfit.name not in refused]
    left = _Left(task)
    for unfit in found:
        left.without_refused(unfit)
    longest = max((unfit.reader.max_length for unfit in found), default=0)
    for unfit in found:
        if not _is_small(task, unfit, longest):
            left.without_long(unfit)
    fitted = left.task(longest)
    notes = [note for unfit in found for note in chat_notes(fitted, unfit.reader)]
    return replace(fitted, notes=(*fitted.notes, *notes)), refused


class _Left:
    """What is left of a task, and what is said of the rest.

    Args:
        task: as it was read.
    """

    def __init__(self, task: Task) -> None:
        self._whole = task
        self._gone: dict[str, set[int]] = {split: set() for split in SPLITS}
        self._dropped: dict[str, dict[int, int]] = {split: {} for split in SPLITS}
        self._notes: list[str] = []

    def without_refused(self, unfit: _Unfit) -> None:
        """Leave out the conversations that a candidate's template refuses."""
        for split in SPLITS:
            self._gone[split].update(unfit.refused[split])
        if unfit.count_refused:
            self._notes.append(
                f"{counted(unfit.count_refused, 'conversation')} that the chat template of {unfit.name} refuses "
                f"left out for all candidates (first: {unfit.first_refused})"
            )

    def without_long(self, unfit: _Unfit) -> None:
        """Leave out what is too long for a candidate."""
        for split in SPLITS:
            examples = getattr(self._whole, split)
            if new := [examples[i] for i in unfit.left_out[split] if i not in self._gone[split]]:
                self._notes.append(_said(new, len(examples), split, unfit.name, unfit.room))
            self._gone[split].update(unfit.left_out[split])
            for i, exchanges in unfit.dropped[split].items():
                self._dropped[split][i] = max(exchanges, self._dropped[split].get(i, 0))
        if unfit.cut:
            seen = min(LOOKED_AT, len(self._whole.test))
            prompts = "prompt" if seen == 1 else "prompts"
            self._notes.append(f"{unfit.name} reads {unfit.cut:,} of {seen:,} test {prompts} without their beginning")

    def task(self, longest: int) -> Task:
        """The task that is left, with notes.

        Args:
            longest: tokens that are read at once by the candidate that reads most.

        Raises:
            InputError: if nothing is left of a split.
        """
        splits = {split: self._split(split) for split in SPLITS}
        if shortened := sum(map(len, self._dropped.values())):
            exchanges = sum(sum(dropped.values()) for dropped in self._dropped.values())
            whole = sum(len(getattr(self._whole, split)) for split in SPLITS)
            lose = "loses its" if shortened == 1 else "lose their"
            self._notes.append(
                f"{shortened:,} of {counted(whole, 'conversation')} {lose} oldest turns for all candidates "
                f"({counted(exchanges, 'exchange')} in all), as no more than {longest:,} tokens are read at once"
            )
        for split, examples in splits.items():
            if getattr(self._whole, split) and not examples:
                raise InputError(f"nothing is left of the {split} split: {self._notes[-1]}")
        notes = (*self._whole.notes, *self._notes)
        train, validation, test = (splits[split] for split in SPLITS)
        return replace(self._whole, train=train, validation=validation, test=test, notes=notes)

    def _split(self, split: str) -> tuple[Example, ...]:
        gone, dropped = self._gone[split], self._dropped[split]
        examples = enumerate(getattr(self._whole, split))
        return tuple(example.without_oldest(dropped.get(i, 0)) for i, example in examples if i not in gone)


def _unfit(task: Task, candidate: Candidate, training_config: TrainingConfig) -> _Unfit | None:
    """What does not fit a candidate; None if nothing can be told."""
    try:
        unfit = _Unfit(reader_of(candidate, training_config))
        for split in SPLITS:
            _look(unfit, split, getattr(task, split))
        reader = unfit.reader
        looked = [e for i, e in enumerate(task.test[:LOOKED_AT]) if i not in unfit.refused["test"]]
        long = [e for e in looked if _size(reader, e, len(e.prompt.encode()) + SURE) > reader.max_length]
        unfit.cut = encode_split(long, reader).prompts_cut
    except Exception:
        return None
    return unfit


def _look(unfit: _Unfit, split: str, examples: Sequence[Example]) -> None:
    """Note which examples of a split do not fit."""
    reader = unfit.reader
    unfit.refused[split] = {}
    long = []
    for i, example in enumerate(examples):
        try:
            if _size(reader, example, SURE) > reader.max_length:
                long.append(i)
        except InputError as error:
            where = f"{example.place}: " if example.place else ""
            unfit.refused[split][i] = f"{where}{error}"
    made = encode_split([examples[i] for i in long], reader) if long else EncodedSplit()
    unfit.left_out[split] = [long[i] for i in made.left_out]
    dropped = {long[i]: exchanges for i, exchanges in made.dropped.items()}
    unfit.dropped[split] = {i: n for i, n in dropped.items() if examples[i].learned_bytes_in_oldest(n)}
    unfit.room = max(unfit.room, made.room)


def _size(reader: Reader, example: Example, more: int) -> int:
    """Bytes of a conversation as the model reads it; of a text those learned and so many more."""
    said = reader.conversation(example)
    return example.n_bytes + more if said is None else len(reader.template.render(said).text.encode())


def _is_small(task: Task, unfit: _Unfit, longest: int) -> bool:
    """Whether more than a tenth of a split does not fit a candidate, as it reads less at once than the others."""
    for split in SPLITS:
        examples = getattr(task, split)
        if len(unfit.left_out[split]) > MOST_LEFT_OUT * len(examples):
            return True
        lost = sum(examples[i].learned_bytes_in_oldest(n) for i, n in unfit.dropped[split].items())
        if unfit.reader.max_length < longest and lost > MOST_LEFT_OUT * sum(e.n_bytes for e in examples):
            return True
    return False


def _said(left_out: list[Example], of: int, split: str, candidate: str, room: int) -> str:
    where = [example.place for example in left_out if example.place]
    lines = f" ({listed(where, 3)})" if where else ""
    word = "training" if split == "train" else split
    have, are = ("has a completion", "is") if len(left_out) == 1 else ("have completions", "are")
    return (
        f"{len(left_out):,} of {counted(of, f'{word} example')} {have} longer than the {room:,} tokens that "
        f"{candidate} has room for and {are} left out for all candidates{lines}"
    )
