"""Files to examples: rows that have nothing to learn are left out and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lensllm.errors import InputError
from lensllm.tasks.columns import ColumnNames, columns_of, said_aside
from lensllm.tasks.containers import read_rows
from lensllm.tasks.conversation import Learn
from lensllm.tasks.formats.layout import Layout
from lensllm.tasks.rows import Cells, Row
from lensllm.tasks.task import Example
from lensllm.text import counted, listed, shortened


@dataclass(frozen=True)
class Reading:
    """How rows are read.

    Attributes:
        columns: those that the user names.
        learn: what is learned of a conversation.
        skip_bad_rows: how many rows that cannot be read may be left out.
    """

    columns: ColumnNames = field(default_factory=ColumnNames)
    learn: Learn = "assistant"
    skip_bad_rows: int = 0


@dataclass(frozen=True)
class Part:
    """What was read of one or several files that belong together.

    Attributes:
        examples: in the order of the files and their rows.
        layout: title of the column layout.
        notes: what was left out or not read.
        bad: what is wrong with the rows that were left out as they cannot be read.
    """

    examples: list[Example]
    layout: str
    notes: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()


def read_part(files: Sequence[Path], reading: Reading | None = None) -> Part:
    """The examples of files that belong together, in this order.

    Raises:
        InputError: naming the file, and the row at fault where there is one; or if no example is left, or the files
            have different layouts.
    """
    reading = reading or Reading()
    parts = [_read_file(path, reading) for path in files]
    layouts = {part.layout: path for part, path in zip(parts, files, strict=True)}
    if len(layouts) > 1:
        told = listed([f"{path.name} has {layout}" for layout, path in layouts.items()])
        raise InputError(f"files of one split must have one layout: {told}")
    notes = [note for part in parts for note in part.notes]
    bad = tuple(row for part in parts for row in part.bad)
    check_bad(bad, reading.skip_bad_rows)
    return Part([e for part in parts for e in part.examples], parts[0].layout, tuple(dict.fromkeys(notes)), bad)


def check_bad(bad: Sequence[str], allowed: int) -> None:
    """Rows that cannot be read end the command unless so many are allowed.

    Raises:
        InputError: saying what is wrong with the first, and how many there are.
    """
    if len(bad) > allowed:
        more = f" ({len(bad):,} such rows in all)" if len(bad) > 1 else ""
        raise InputError(f"{bad[0]}{more}; --skip-bad-rows {len(bad)} leaves out what cannot be read")


def read_examples(path: Path, columns: ColumnNames | None = None) -> list[Example]:
    r"""The examples of one file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "data.jsonl")
    ...     _ = file.write_text('{"prompt": "1 plus 1 is", "completion": " 2"}\n{"prompt": "1", "completion": ""}\n')
    ...     [(example, example.place) for example in read_examples(file)]
    [(Example(prompt='1 plus 1 is', completion=' 2'), 'data.jsonl line 1')]
    """
    return read_part([path], Reading(columns or ColumnNames())).examples


def _read_file(path: Path, reading: Reading) -> Part:
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    rows, unit, notes = read_rows(path)
    return part_of(rows, str(path), path.name, unit, reading, notes)


def part_of(
    rows: Sequence[Row], source: str, name: str, unit: str, reading: Reading, notes: Sequence[str] = ()
) -> Part:
    """The examples of rows that were read from one place.

    Args:
        rows: all of them.
        source: the place, for errors.
        name: the place in short, for notes.
        unit: what rows are counted in.
        reading: how they are read.
        notes: what is to be said of the place.

    Raises:
        InputError: naming the row that cannot be read, if more are bad than may be; or if there is nothing to learn.
    """
    if not rows:
        raise InputError(f"{source} has no examples: it is empty")
    bad = [f"{source} {row.fault}" for row in rows if row.fault]
    rows = [row for row in rows if not row.fault]
    if not rows:
        check_bad(bad, 0)
    columns = columns_of(rows, source, unit, reading.columns)
    examples: list[Example] = []
    bare, empty, cut = 0, [], 0
    for row in rows:
        place = f"{source} {unit} {row.number}"
        try:
            made = _learned(columns.layout.example(Cells(columns.read(row), place)), reading.learn)
        except InputError as error:
            bad.append(str(error))
            continue
        if made is None or not made[0].completion:
            empty.append(row.number)
        elif row.short:
            bad.append(f"{place} {row.short}: a cell is missing, and those after it stand in the wrong columns")
        else:
            bare += not made[0].prompt
            cut += made[1]
            examples.append(replace(made[0], file=f"{name} {unit}", number=row.number))
    check_bad(bad, reading.skip_bad_rows)
    if not examples:
        raise InputError(f"{source} has no examples: every completion is empty, so there is nothing to learn")
    said = [*notes, *_counts(name, unit, columns.layout, len(rows) + len(bad), bare, empty, cut)]
    if bad:
        what = shortened(bad[0].removeprefix(f"{source} "), 100)
        said.append(f"{name}: {counted(len(bad), 'row')} left out that cannot be read (first: {what})")
    if columns.aside:
        said.append(f"{name}: {said_aside(columns.aside)}")
    return Part(examples, columns.layout.title, tuple(said), tuple(bad))


def _learned(example: Example | None, learn: Learn) -> tuple[Example, bool] | None:
    """The example with what is learned of its conversation, and whether it goes on behind that."""
    if example is None or example.conversation is None:
        return None if example is None else (example, False)
    made = example.conversation.learning(learn)
    return None if made is None else (Example.of(made), len(made.turns) < len(example.conversation.turns))


def _counts(name: str, unit: str, layout: Layout, rows: int, bare: int, empty: list[int], cut: int) -> list[str]:
    said = [f"{name}: {layout.note}"] * bool(layout.note)
    of = f"of {counted(rows, 'row')}"
    if empty:
        have, are = ("has", "is") if len(empty) == 1 else ("have", "are")
        said.append(f"{name}: {len(empty):,} {of} {have} nothing to learn and {are} left out ({unit} {listed(empty)})")
    if bare and {"prompt", "completion"} <= {*layout.needs}:
        said.append(f"{name}: {bare:,} {of} without a prompt, learned as plain text")
    if cut:
        said.append(f"{name}: the turns behind the last one that is learned are not read, in {cut:,} {of}")
    return said
