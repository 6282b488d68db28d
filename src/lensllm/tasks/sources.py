"""Where a task comes from: a shipped one, a file, a folder, the hub, or a Python program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensllm import zoo
from lensllm.errors import InputError
from lensllm.tasks.containers import SUFFIXES, stem
from lensllm.tasks.containers.in_memory import rows_in, splits_in
from lensllm.tasks.examples import Part, Reading, part_of, read_part
from lensllm.tasks.folders import files_of, split_names
from lensllm.tasks.hub import load_hub
from lensllm.tasks.hub_id import hub_id
from lensllm.text import listed, shortened, visible

IN_MEMORY = "data"
"""Name of a task that comes from a Python program."""


@dataclass(frozen=True)
class Source:
    """What was read of a source.

    Attributes:
        parts: split -> its examples.
        name: of the task.
        shown: the source in messages.
        notes: on what was not read.
        files: that were read.
    """

    parts: dict[str, Part]
    name: str
    shown: str
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def read_source(source: Any, reading: Reading, train: str = "", test: str = "") -> Source:
    """Read the splits that there are.

    Args:
        source: name, file, folder or hub id; or a list of dicts, a `pandas.DataFrame`, a `datasets.Dataset` or
            `DatasetDict`.
        reading: how rows are read.
        train: name of the training split, where the user says so.
        test: name of its test split, where the user says so.

    Raises:
        InputError: if there is nothing of this name or kind, it has no such splits, or it cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        splits = splits_in(source)
        if splits is not None:
            return _of_splits(splits, IN_MEMORY, reading, train, test)
        if train or test:
            raise InputError(f"{IN_MEMORY} has no named splits: leave out dataset_train_split and dataset_test_split")
        rows = rows_in(source, IN_MEMORY)
        return Source({"train": part_of(rows, IN_MEMORY, IN_MEMORY, "row", reading)}, IN_MEMORY, IN_MEMORY)
    text = os.fsdecode(source)
    wanted = hub_id(text)
    if wanted and not os.path.lexists(text):
        hub_splits, notes = load_hub(wanted)
        return _of_splits(hub_splits, text, reading, train, test, notes)
    return _of_path(_found(text), text, reading, train, test)


def _of_splits(
    splits: Mapping[str, Any], name: str, reading: Reading, train: str, test: str, notes: tuple[str, ...] = ()
) -> Source:
    """The splits of a `DatasetDict`."""
    if not splits:
        raise InputError(f"{name} has no examples: it has no splits")
    told = split_names(list(splits), name, train, test)
    parts = {}
    for split, one in told.items():
        place = f"{name} {one}"
        parts[split] = part_of(rows_in(splits[one], place), place, place, "row", reading)
    left = [one for one in splits if one not in told.values()]
    return Source(parts, name, name, (*notes, *[f"{name}: not read: the splits {listed(left)}"] * bool(left)))


def _of_path(path: Path, shown: str, reading: Reading, train: str, test: str) -> Source:
    if path.is_dir():
        files, notes = files_of(path, train, test)
        if "train" not in files:
            raise InputError(f"{path} has no train file: its splits are {', '.join(files)}")
        read = tuple(file for of in files.values() for file in of)
        parts = {split: read_part(of, reading) for split, of in files.items()}
        return Source(parts, path.resolve().name, shown, notes, read)
    if train or test:
        raise InputError(f"{path} is one file: leave out --dataset-train-split and --dataset-test-split")
    return Source({"train": read_part([path], reading)}, stem(path), shown, files=(path,))


def _found(source: str) -> Path:
    path = Path(source)
    shown = shortened(visible(source), 120)
    try:
        if source and path.exists():
            return path
    except (OSError, ValueError) as error:
        raise InputError(f"{shown} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if source in zoo.task_names():
        return zoo.task_path(source)
    if path.suffix or path.parent != Path("."):
        raise InputError(f"no such task file: {shown}")
    names = ", ".join(zoo.task_names())
    raise InputError(
        f"no task {shown!r}: give a file ({', '.join(SUFFIXES)}), a folder of them, org/name of the hub, or one "
        f"of {names}"
    )
