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
        train: name of the training split, where the user says so.
        test: name of the test split, where the user says so.

    Raises:
        InputError: if there are no data files, no split of a name that was given, a shard is missing, or the files of
            a split cannot be told apart.
    """
    if (folder / "dataset_dict.json").is_file():
        return _saved_splits(folder, train, test)
    if (folder / "state.json").is_file():
        if train or test:
            raise InputError(f"{folder} is one saved split: leave out --dataset-train-split and --dataset-test-split")
        return {"train": saved_files(folder)}, ()
    places = [place for place in (folder, folder / "data") if _data_files(place)]
    inside = [place for place in _folders(folder) if _has_data(place)]
    if not places and not any(_split_of(place.name) or place.name in (train, test) for place in inside):
        return _only_inside(folder, inside, train, test)
    named: Splits = {}
    for path in [*(file for place in places for file in _data_files(place)), *inside]:
        if path not in places:
            named.setdefault(_name(path), []).append(path)
    chosen, notes = _chosen(folder, named, train, test)
    found = {split: [file for path in paths for file in _expanded(path)] for split, paths in chosen.items()}
    for split, files in found.items():
        _check(folder, split, files)
    read = {path for paths in chosen.values() for path in paths}
    left = [path.name for paths in named.values() for path in paths if path not in read]
    return found, (*notes, *[f"{folder.name}: not read: {listed(left)}"] * bool(left))


def _chosen(folder: Path, named: Splits, train: str, test: str) -> tuple[Splits, list[str]]:
    """Split -> its files and folders among those of each name, and notes on what is read together."""
    if train or test:
        told = split_names(list(named), str(folder), train, test)
        return {split: named[name] for split, name in told.items()}, []
    found: Splits = {}
    notes = []
    for name, paths in named.items():
        if split := _split_of(name):
            found.setdefault(split, []).extend(paths)
    for split, paths in found.items():
        if len({_name(path) for path in paths}) > 1:
            notes.append(f"{folder.name}: read together as {split}: {listed([path.name for path in paths])}")
    if not found:
        together = [path for paths in named.values() for path in paths if path.is_file()]
        found = {"train": together}
        if len(together) > 1:
            notes.append(f"{folder.name}: read together: {listed([path.name for path in together])}")
    return found, notes


def _name(path: Path) -> str:
    """What a file or folder is called, without the number of a shard and the endings."""
    name = path.name if path.is_dir() else stem(path)
    shard = SHARD.match(name)
    return (shard["name"] or name) if shard else name


def _expanded(path: Path) -> list[Path]:
    """The files of a folder; a file by itself."""
    if path.is_file():
        return [path]
    files = saved_files(path) if (path / "state.json").is_file() else _data_files(path)
    if not files:
        raise InputError(f"{path} has its files in folders of its own: move them up")
    return files


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


def _only_inside(folder: Path, inside: Sequence[Path], train: str, test: str) -> tuple[Splits, tuple[str, ...]]:
    """The one folder inside that holds data; hub data sets keep each of their subsets in one."""
    if len(inside) == 1:
        return files_of(inside[0], train, test)
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
    """Split -> the name that a data set gives it. Of several for validation none is taken, as none can be named.

    Args:
        names: all that there are.
        source: the data set, for messages.
        train: name of the training split, where the user says so.
        test: name of the test split, where the user says so.

    Raises:
        InputError: if there is no training split, none of a name that was given, or several for training or test.

    >>> split_names(["train_sft", "test_sft", "other"], "data")
    {'train': 'train_sft', 'test': 'test_sft'}
    """
    found = {split: name for split, name in (("train", train), ("test", test)) if name}
    for split, name in found.items():
        if name not in names:
            raise InputError(f"{source} has no split {name!r} for {split}: its splits are {listed(list(names), 10)}")
    only = "train" if len(names) == 1 else None
    free = {name: _split_of(name) or only for name in names if name not in found.values()}
    for split in [split for split in NAMES if split not in found]:
        fitting = [name for name, told in free.items() if told == split]
        if len(fitting) > 1 and split != "validation":
            raise InputError(
                f"{source} has {len(fitting)} splits for {split}: {listed(fitting, 10)}; name one with "
                f"--dataset-{split}-split"
            )
        if len(fitting) == 1:
            found[split] = fitting[0]
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
