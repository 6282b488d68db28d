"""Which files of a folder make which split: split files, shards, hub-style folders, and saved data sets."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lensllm.errors import InputError
from lensllm.tasks.containers import SUFFIXES, container_of, stem
from lensllm.text import listed

NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
SHARD = re.compile(r"^(?P<name>.*?)[-_.]?(?P<number>\d+)-of-(?P<count>\d+)$")
ASIDE = {"card", "dataset_info", "dataset_infos", "dataset_dict", "state", "package", "config", "info", "metadata"}
"""Stems of JSON files that describe data and hold none."""

Splits = dict[str, list[Path]]


def files_of(folder: Path, train: str = "", test: str = "") -> tuple[Splits, tuple[str, ...]]:
    """Split -> its files in order, and notes on files that are not read. Files without a split in their names are
    `train` where no file has one.

    Args:
        folder: of files, or one saved by the datasets library.
        train: name of the training split of a saved data set, where the user says so.
        test: name of its test split, where the user says so.

    Raises:
        InputError: if there are no data files, a shard is missing, or the files of a split cannot be told apart.
    """
    if (folder / "dataset_dict.json").is_file():
        return _saved_splits(folder, train, test)
    if train or test:
        raise InputError(
            f"{folder} has files and no named splits: leave out --dataset-train-split and --dataset-test-split"
        )
    if (folder / "state.json").is_file():
        return {"train": saved_files(folder)}, ()
    places = [place for place in (folder, folder / "data") if _data_files(place)]
    inside = {place: _split_of(place.name) for place in _folders(folder) if _has_data(place)}
    named = {place: split for place, split in inside.items() if split}
    if not places and not named:
        return _only_inside(folder, list(inside))
    found: Splits = {}
    unnamed: list[Path] = []
    for file in (file for place in places for file in _data_files(place)):
        split = _split_of(stem(file))
        (found.setdefault(split, []) if split else unnamed).append(file)
    for place, split in named.items():
        found.setdefault(split, []).extend(
            saved_files(place) if (place / "state.json").is_file() else _data_files(place)
        )
    together: list[Path] = []
    if not found:
        found, unnamed, together = {"train": unnamed}, [], unnamed
    for split, files in found.items():
        _check(folder, split, files)
    notes = [f"{folder.name}: read together: {listed([path.name for path in together])}"] if len(together) > 1 else []
    left = [path.name for path in unnamed] + [path.name for path in inside if path not in named and path not in places]
    return found, (*notes, *[f"{folder.name}: not read: {listed(left)}"] * bool(left))


def saved_files(folder: Path) -> list[Path]:
    """The files of a data set saved by the datasets library, all of which must be there.

    Raises:
        InputError: if its description is damaged or a file is missing.
    """
    files = sorted(folder.glob("*.arrow"))
    if (folder / "state.json").is_file():
        try:
            files = [folder / Path(one["filename"]).name for one in _json(folder / "state.json")["_data_files"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder / 'state.json'} is damaged: save the data set anew") from error
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise InputError(f"{folder} is not complete: {listed(missing) or 'its arrow files'} missing")
    _check(folder, folder.name, files)
    return files


def _saved_splits(folder: Path, train: str, test: str) -> tuple[Splits, tuple[str, ...]]:
    splits = _json(folder / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not splits:
        raise InputError(f"{folder / 'dataset_dict.json'} names no splits: save the data set anew")
    names = [str(name) for name in splits]
    told = split_names(names, str(folder), train, test)
    left = [name for name in names if name not in told.values()]
    found = {split: saved_files(folder / Path(name).name) for split, name in told.items()}
    return found, (f"{folder.name}: not read: the splits {listed(left)}",) if left else ()


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: save the data set anew") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged: save the data set anew")
    return value


def _only_inside(folder: Path, inside: Sequence[Path]) -> tuple[Splits, tuple[str, ...]]:
    """The one folder inside that holds data; hub data sets keep each of their subsets in one."""
    if len(inside) == 1:
        return files_of(inside[0])
    if inside:
        raise InputError(f"{folder} holds several data sets: name one of {listed([str(path) for path in inside])}")
    raise InputError(f"{folder} has no train file: expected train.jsonl (or {', '.join(SUFFIXES)}), or its shards")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _data_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and not path.name.startswith((".", "_"))
        and container_of(path) is not None
        and stem(path).lower() not in ASIDE
    ]


def _has_data(folder: Path) -> bool:
    return bool(_data_files(folder)) or any(_has_data(inside) for inside in _folders(folder))


def split_names(names: Sequence[str], source: str, train: str = "", test: str = "") -> dict[str, str]:
    """Split -> the name that a data set gives it.

    Args:
        names: all that there are.
        source: the data set, for messages.
        train: name of the training split, where the user says so.
        test: name of the test split, where the user says so.

    Raises:
        InputError: if there is no training split, none of a name that was given, or several names for one split.

    >>> split_names(["train_sft", "test_sft", "other"], "data")
    {'train': 'train_sft', 'test': 'test_sft'}
    """
    given = {split: name for split, name in (("train", train), ("test", test)) if name}
    for split, name in given.items():
        if name not in names:
            raise InputError(f"{source} has no split {name!r} for {split}: its splits are {listed(list(names), 10)}")
    found: dict[str, str] = dict(given)
    for name in names:
        part = _split_of(name) or ("train" if len(names) == 1 else None)
        if part is None or name in given.values() or part in given:
            continue
        if part in found:
            raise InputError(
                f"{source} has two splits for {part}: {listed(list(names), 10)}; name one with "
                f"--dataset-{'test' if part == 'test' else 'train'}-split"
            )
        found[part] = name
    if "train" not in found:
        raise InputError(
            f"{source} has no train split: its splits are {listed(list(names), 10)}; name one with "
            "--dataset-train-split"
        )
    return found


def _split_of(name: str) -> str | None:
    """The split that a name tells by its first or last word: `train-00000-of-00002`, `my_test`."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word and word != "of"]
    told = {SPLIT_OF[word] for word in (*words[:1], *words[-1:]) if word in SPLIT_OF}
    return told.pop() if len(told) == 1 else None


def _check(folder: Path, split: str, files: list[Path]) -> None:
    """Files that make one split are of one type, and all shards of a count are there."""
    if len({path.name.removeprefix(stem(path)).lower() for path in files}) > 1:
        raise InputError(f"{folder} has {listed([path.name for path in files])} for {split}: leave one of them there")
    shards: dict[tuple[str, str], set[int]] = {}
    for path in files:
        if told := SHARD.match(stem(path)):
            shards.setdefault((told["name"], told["count"]), set()).add(int(told["number"]))
    for (name, count), numbers in shards.items():
        if len(numbers) != int(count) or numbers != set(range(min(numbers), min(numbers) + int(count))):
            raise InputError(
                f"{folder} has {len(numbers)} of the {int(count)} shards of {name or split}: fetch the others"
            )
