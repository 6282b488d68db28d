"""Read the user's examples: json, jsonl, csv or parquet, in the column layouts that fine-tuning tools share."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lensllm import zoo
from lensllm.errors import InputError
from lensllm.tasks.task import Example, Task

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
LAYOUTS = "prompt + completion, text, or instruction (+ input) + output"
HELD_OUT_TEST = 1000
HELD_OUT_VALIDATION = 400


def read_task(
    source: str | Path,
    *,
    eval_file: str | Path | None = None,
    eval_fraction: float = 0.1,
    seed: int = 0,
) -> Task:
    """Read a task by the name of a shipped one, from a folder of splits, or from one file.

    Without `eval_file`, a fraction of the file's examples is held out for the test (at most 1,000), and half as
    many for validation (at most 400); with it, the test examples are that file's. Examples with the same prompt
    (for plain text, the same text) stay on one side. A folder holds train.*, validation.* and test.*.

    Raises:
        InputError: for a missing or empty file, an unknown column layout, or a row without a completion.
    """
    path = Path(source)
    if not path.exists():
        if str(source) in zoo.task_names():
            path = zoo.task_path(str(source))
        elif path.suffix or path.parent != Path("."):
            raise InputError(f"no such task file: {source}")
        else:
            raise InputError(
                f"no task {source!r}: give a file ({', '.join(SUFFIXES)}) or one of {', '.join(zoo.task_names())}"
            )
    if path.is_dir():
        if eval_file is not None:
            raise InputError(f"{source} has a test split of its own: leave out the eval file")
        splits = {split: read_examples(_split_file(path, split)) for split in ("train", "validation", "test")}
        return Task(path.name, **{split: tuple(examples) for split, examples in splits.items()})

    examples = read_examples(path)
    name = path.name.split(".")[0]
    rng = np.random.default_rng(seed)
    if eval_file is None:
        if not 0 < eval_fraction < 1:
            raise InputError(f"eval_fraction must lie between 0 and 1, got {eval_fraction:g}")
        n_test = min(HELD_OUT_TEST, math.ceil(eval_fraction * len(examples)))
        test, examples = _hold_out(examples, n_test, rng)
    else:
        test = read_examples(Path(eval_file))
    n_validation = min(HELD_OUT_VALIDATION, math.ceil(eval_fraction / 2 * len(examples)))
    validation, train = _hold_out(examples, n_validation, rng)
    if not train:
        raise InputError(f"{path} leaves no example to train on once {len(test) + len(validation)} are held out")
    return Task(name, tuple(train), tuple(validation), tuple(test))


def read_examples(path: Path) -> list[Example]:
    """Examples of one file in the order of its rows; rows with an empty completion are left out.

    Raises:
        InputError: naming the file and the row at fault.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    examples = []
    empty = 0
    for row, record in enumerate(_records(path), start=1):
        example = _example(record, path, row)
        if example.completion:
            examples.append(example)
        else:
            empty += 1
    if not examples:
        raise InputError(
            f"{path} has no examples: "
            + ("every completion is empty, so there is nothing to learn" if empty else "it is empty")
        )
    return examples


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    kind = path.suffix if path.suffix != ".gz" else path.with_suffix("").suffix
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        if kind in (".jsonl", ".ndjson"):
            with opened(path, "rt", encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield _mapping(json.loads(line), path, number)
        elif kind == ".json":
            with opened(path, "rt", encoding="utf-8") as file:
                rows = json.load(file)
            if not isinstance(rows, list):
                raise InputError(f"{path} must hold a list of examples, got {type(rows).__name__}")
            yield from (_mapping(row, path, number) for number, row in enumerate(rows, start=1))
        elif kind in (".csv", ".tsv"):
            table = pd.read_csv(path, sep="\t" if kind == ".tsv" else ",", dtype=str, keep_default_na=False)
            yield from table.to_dict("records")
        elif kind == ".parquet":
            yield from pd.read_parquet(path).to_dict("records")
        else:
            raise InputError(f"{path} is of an unknown kind: expected one of {', '.join(SUFFIXES)}")
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON near line {error.lineno}: {error.msg}") from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} has no examples: it is empty") from error
    except (UnicodeDecodeError, pd.errors.ParserError, gzip.BadGzipFile, OSError) as error:
        raise InputError(f"{path} cannot be read as {kind}: {error}") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as {kind}: {error}") from error


def _mapping(row: object, path: Path, number: int) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{path} row {number} must be an object with named columns, got {type(row).__name__}")
    return row


def _example(record: Mapping[str, Any], path: Path, row: int) -> Example:
    def value(column: str) -> str:
        found = record.get(column)
        if found is None or (isinstance(found, float) and math.isnan(found)):
            raise InputError(f"{path} row {row} has no {column!r}: fill it in or leave the row out")
        if isinstance(found, str | int | float | bool | np.generic):
            return str(found)
        raise InputError(f"{path} row {row}: {column!r} must be text, got {type(found).__name__}")

    if "prompt" in record or "completion" in record:
        return Example(value("prompt"), value("completion"))
    if "text" in record:
        return Example("", value("text"))
    if "instruction" in record and "output" in record:
        context = value("input") if record.get("input") else ""
        return Example("\n".join(filter(None, [value("instruction"), context])) + "\n", value("output"))
    raise InputError(f"{path} row {row} has the columns {', '.join(map(str, record)) or '(none)'}: expected {LAYOUTS}")


def _split_file(folder: Path, split: str) -> Path:
    for file in sorted(folder.glob(f"{split}.*")):
        if set(file.suffixes) & set(SUFFIXES):
            return file
    raise InputError(f"{folder} has no {split} file: expected {split}.jsonl (or .json, .csv, .parquet)")


def _hold_out(examples: list[Example], size: int, rng: np.random.Generator) -> tuple[list[Example], list[Example]]:
    """`size` examples or slightly more, and the rest, with no prompt on both sides."""
    groups: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault((example.prompt or example.completion).casefold(), []).append(i)
    keys = list(groups)
    held: set[int] = set()
    for k in rng.permutation(len(keys)):
        if len(held) >= size:
            break
        held.update(groups[keys[k]])
    return [examples[i] for i in sorted(held)], [e for i, e in enumerate(examples) if i not in held]
