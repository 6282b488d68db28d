"""Read a task from any source; splits that are missing are held out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lensllm.errors import InputError
from lensllm.tasks.columns import ColumnNames
from lensllm.tasks.conversation import Learn
from lensllm.tasks.examples import Part, Reading, check_bad, read_examples, read_part
from lensllm.tasks.hygiene import overlap, said
from lensllm.tasks.sources import read_source
from lensllm.tasks.split import hold_out
from lensllm.tasks.task import Example, Task
from lensllm.text import counted, listed

__all__ = ["read_examples", "read_task"]

HELD_OUT_TEST = 1000
HELD_OUT_VALIDATION = 400
FEW_TESTED = 10


def read_task(
    source: Any,
    *,
    eval_file: str | Path | None = None,
    eval_fraction: float = 0.1,
    seed: int = 0,
    prompt_column: str = "",
    completion_column: str = "",
    text_column: str = "",
    messages_column: str = "",
    system_column: str = "",
    tools_column: str = "",
    learn: Learn = "assistant",
    skip_bad_rows: int = 0,
    dataset_train_split: str = "",
    dataset_test_split: str = "",
    deduplicate: bool = False,
) -> Task:
    r"""Read a task by the name of a shipped one, from a file, a folder, the hub, or from Python (docs/data.md).

    Without test examples a fraction of the training examples is held out for the test (at most 1,000), and without
    validation examples half as many (at most 400); examples with the same prompt (for plain text, the same text) stay
    on one side where there are enough different ones.

    Args:
        source: name, file, folder or hub id (`org/name:subset@revision`), as `str` or `os.PathLike`; or a
            `list[dict[str, Any]]`, a `pandas.DataFrame`, a `datasets.Dataset` or a `datasets.DatasetDict`.
        eval_file: file of the test examples.
        eval_fraction: part held out for the test.
        seed: of the holding out.
        prompt_column: column of the prompts, where it is none of the known layouts.
        completion_column: column of the completions.
        text_column: column of plain texts.
        messages_column: column of conversations.
        system_column: column of the system's words.
        tools_column: column of the tools that may be called.
        learn: what is learned of a conversation: `assistant`, all that it says; `last`, its last turn; `all`, every
            turn.
        skip_bad_rows: how many rows that cannot be read may be left out.
        dataset_train_split: name of the training split of a hub data set, a saved one, a `DatasetDict` or a folder,
            where several fit or the name does not tell.
        dataset_test_split: name of its test split.
        deduplicate: take examples of the test out of training and validation, those of the validation out of
            training.

    Raises:
        InputError: for a missing, damaged or empty source, an unknown split or layout, a column that would not be
            read, or a row that cannot be read; and if nothing is left to train on.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from lensllm.tasks import read_task
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "sums.csv")
    ...     _ = file.write_text("prompt,completion\n" + "".join(f"{i} plus 1 is,{i + 1}\n" for i in range(200)))
    ...     task = read_task(file)
    >>> task.name, len(task.train), len(task.validation), len(task.test)
    ('sums', 171, 9, 20)
    """
    if not 0 < eval_fraction < 1:
        raise InputError(f"eval_fraction must lie between 0 and 1, got {eval_fraction:g}")
    columns = ColumnNames(prompt_column, completion_column, text_column, messages_column, system_column, tools_column)
    reading = Reading(columns, learn, skip_bad_rows)
    found = read_source(source, reading, dataset_train_split, dataset_test_split)
    parts = dict(found.parts)
    if eval_file is not None:
        if "test" in parts:
            raise InputError(f"{found.name} has a test split of its own: leave out the eval file")
        parts["test"] = read_part([Path(eval_file)], reading)
    check_bad([row for part in parts.values() for row in part.bad], skip_bad_rows)
    draft = _Draft(found.shown, parts, [*found.notes, *_notes_of(parts)])
    draft.write_pairs_as_the_conversations_beside_them(learn)
    draft.hold_out_missing(eval_fraction, np.random.default_rng(seed))
    draft.compare(deduplicate)
    read = [*found.files, *([Path(eval_file)] if eval_file is not None else [])]
    layouts = listed(list(dict.fromkeys(part.layout for part in parts.values())))
    return replace(draft.task(found.name), files=tuple(str(file.absolute()) for file in read), layout=layouts)


def _notes_of(parts: dict[str, Part]) -> list[str]:
    notes = [note for part in parts.values() for note in part.notes]
    layouts = {part.layout for part in parts.values()}
    if len(layouts) > 1:
        told = ", ".join(f"{split} as {part.layout}" for split, part in parts.items())
        notes.append(f"the splits are read as different layouts: {told}")
    if parts["train"].layout == "text + label":
        labels = sorted({e.completion for e in parts["train"].examples})
        notes.append(
            f"read as classification: the text is the prompt, the label the completion ({len(labels):,} labels: "
            f"{listed(labels)})"
        )
        if len(labels) > max(20, len(parts["train"].examples) / 5):
            notes.append(f"the label has {len(labels):,} different values: these are hardly classes")
    return notes


@dataclass
class _Draft:
    """A task while its splits are made; what is decided is noted."""

    path: str
    parts: dict[str, Part]
    notes: list[str]

    def __post_init__(self) -> None:
        self.splits: dict[str, list[Example]] = {split: part.examples for split, part in self.parts.items()}

    def write_pairs_as_the_conversations_beside_them(self, learn: Learn) -> None:
        """Where some rows have words of the system or tools, rows without are conversations as well."""
        if any(example.conversation for examples in self.splits.values() for example in examples):
            self.splits = {
                split: [e.as_conversation(learn) for e in examples] for split, examples in self.splits.items()
            }

    def hold_out_missing(self, fraction: float, rng: np.random.Generator) -> None:
        """Take a test and a validation part from the training examples where there is none."""
        for split, share, most in (
            ("test", fraction, HELD_OUT_TEST),
            ("validation", fraction / 2, HELD_OUT_VALIDATION),
        ):
            if split not in self.splits:
                size = min(most, math.ceil(share * len(self.splits["train"])))
                made = hold_out(self.splits["train"], size, rng, split)
                self.splits[split], self.splits["train"] = made.held, made.rest
                self.notes += [made.note] * bool(made.note)
        if not self.splits["train"]:
            held = sum(len(self.splits[split]) for split in ("test", "validation") if split not in self.parts)
            lacks = "" if "test" in self.parts or len(self.parts) == 1 else "has no test file and "
            raise InputError(f"{self.path} {lacks}leaves no example to train on once {held} are held out")

    def compare(self, deduplicate: bool) -> None:
        """Say what the test and the validation part have in common with others; take it out of those if asked.

        Raises:
            InputError: if all training examples are test examples: the test would measure what was learned by heart.
        """
        for split, into in (("test", "train"), ("test", "validation"), ("validation", "train")):
            tested, trained = self.splits[split], self.splits[into]
            found = overlap(tested, trained)
            word = {"train": "training", "validation": "validation"}[into]
            self.notes += said(found, tested, split, word)
            if not found.any:
                continue
            known = set(tested)
            if into == "train" and all(e in known for e in trained):
                raise InputError(
                    f"all {len(trained):,} training examples are {split} examples as well, so the loss on them would "
                    f"be that of learning by heart: give other examples for the {split}, or let them be held out"
                )
            seen = {*self.splits["train"], *self.splits["validation"]}
            if split == "test" and into == "train" and all(e in seen for e in tested):
                self.notes.append(
                    f"WARNING: every {split} example is trained on: its loss says nothing of new examples"
                )
            if deduplicate:
                self.splits[into] = [e for j, e in enumerate(trained) if j not in found.trained]
                self.notes.append(f"{counted(len(found.trained), f'{word} example')} of these left out")
                if not self.splits[into]:
                    raise InputError(f"{self.path} has no {word} example left without those of the {split}")

    def task(self, name: str) -> Task:
        """The task, with a word on a test that is too small to tell anything."""
        tested = len(self.splits["test"])
        if tested < FEW_TESTED:
            self.notes.append(
                f"the test has {counted(tested, 'example')}: with fewer than {FEW_TESTED} hardly any difference "
                "between candidates can be told from chance, give more"
            )
        if len(self.splits["train"]) < 2:
            self.notes.append("there is one training example")
        train, validation, test = (tuple(self.splits[split]) for split in ("train", "validation", "test"))
        return Task(name, train, validation, test, tuple(self.notes))
