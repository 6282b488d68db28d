"""Files to examples: rows that have nothing to learn are left out and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lensllm.errors import InputError
from lensllm.tasks.columns import ColumnNames, columns_of, said_aside
from lensllm.tasks.containers import read_rows
from lensllm.tasks.rows import Cells
from lensllm.tasks.task import Example
from lensllm.text import counted, listed


@dataclass(frozen=True)
class Part:
    """What was read of one or several files that belong together.

    Attributes:
        examples: in the order of the files and their rows.
        layout: title of the column layout.
        notes: what was left out or not read.
    """

    examples: list[Example]
    layout: str
    notes: tuple[str, ...] = ()


def read_part(files: Sequence[Path], wanted: ColumnNames | None = None) -> Part:
    """The examples of files that belong together, in this order.

    Raises:
        InputError: naming the file, and the row at fault where there is one; or if no example is left, or the files
            have different layouts.
    """
    parts = [_read_file(path, wanted or ColumnNames()) for path in files]
    layouts = {part.layout: path for part, path in zip(parts, files, strict=True)}
    if len(layouts) > 1:
        told = listed([f"{path.name} has {layout}" for layout, path in layouts.items()])
        raise InputError(f"files of one split must have one layout: {told}")
    notes = [note for part in parts for note in part.notes]
    return Part([e for part in parts for e in part.examples], parts[0].layout, tuple(dict.fromkeys(notes)))


def read_examples(path: Path, wanted: ColumnNames | None = None) -> list[Example]:
    r"""The examples of one file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "data.jsonl")
    ...     _ = file.write_text('{"prompt": "1 plus 1 is", "completion": " 2"}\n{"prompt": "1", "completion": ""}\n')
    ...     [(example, example.place) for example in read_examples(file)]
    [(Example(prompt='1 plus 1 is', completion=' 2'), 'data.jsonl line 1')]
    """
    return read_part([path], wanted).examples


def _read_file(path: Path, wanted: ColumnNames) -> Part:
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    rows, unit, notes = read_rows(path)
    if not rows:
        raise InputError(f"{path} has no examples: it is empty")
    columns = columns_of(rows, str(path), unit, wanted)
    examples: list[Example] = []
    bare, empty = 0, []
    file = f"{path.name} {unit}"
    for row in rows:
        place = f"{path} {unit} {row.number}"
        prompt, completion = columns.layout.example(Cells(columns.read(row), place))
        if not completion:
            empty.append(row.number)
        elif row.short:
            raise InputError(f"{place} {row.short}: a cell is missing, and those after it stand in the wrong columns")
        else:
            bare += not prompt
            examples.append(Example(prompt, completion, file, row.number))
    if not examples:
        raise InputError(f"{path} has no examples: every completion is empty, so there is nothing to learn")
    said = list(notes)
    if empty:
        have, are = ("has", "is") if len(empty) == 1 else ("have", "are")
        said.append(
            f"{path.name}: {len(empty):,} of {counted(len(rows), 'row')} {have} nothing to learn and {are} left out "
            f"({unit} {listed(empty)})"
        )
    if bare and "prompt" in columns.layout.title:
        said.append(f"{path.name}: {bare:,} of {counted(len(rows), 'row')} without a prompt, learned as plain text")
    if columns.aside:
        said.append(f"{path.name}: {said_aside(columns.aside)}")
    return Part(examples, columns.layout.title, tuple(said))
