"""`trainer_state.json`, which transformers' Trainer, TRL, axolotl and LLaMA-Factory leave beside every checkpoint."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from lensllm.curve_sources.history import History, number
from lensllm.errors import InputError

FILE_NAME = "trainer_state.json"
CHECKPOINT = re.compile(r"checkpoint-\d+")
RESULTS = ("train_results.json", "all_results.json")
"""Where transformers' example scripts and LLaMA-Factory write the number of training examples."""


def find_trainer_states(root: Path) -> dict[Path, Path]:
    """Output folder of each run -> its latest state: the one beside its checkpoints, or that of the last of these."""
    found: dict[Path, list[Path]] = {}
    for file in sorted(root.rglob(FILE_NAME)):
        within = file.parent
        output = within.parent if CHECKPOINT.fullmatch(within.name) and within != root else within
        found.setdefault(output, []).append(file)
    return {output: max(files, key=lambda file: _step(file, output)) for output, files in found.items()}


def read_trainer_state(file: Path, name: str) -> History:
    """The history of a run.

    Args:
        file: a `trainer_state.json`.
        name: of the run.

    Raises:
        InputError: if it cannot be read or is no state of a Trainer.
    """
    state = _read(file)
    log = state.get("log_history")
    if not isinstance(log, list) or not all(isinstance(row, dict) for row in log):
        raise InputError(f"{file} has no list 'log_history': it is no state of a Trainer")
    rows = tuple({k: v for k, text in row.items() if (v := number(text)) is not None} for row in log)
    settings = {name: str(state[name]) for name in ("num_train_epochs", "max_steps") if state.get(name)}
    output = file.parent.parent if CHECKPOINT.fullmatch(file.parent.name) else file.parent
    for results in RESULTS:
        if (output / results).is_file() and "train_samples" in (told := _read(output / results)):
            settings["train_samples"] = str(told["train_samples"])
    done, planned = number(state.get("global_step")), number(state.get("max_steps"))
    ended = any("train_runtime" in row for row in rows) or done is None or planned is None or done >= planned
    unfinished = "" if ended else f"it is at step {done:,.0f} of {planned:,.0f}"
    return History(name, str(file), rows, settings, unfinished, _vocabulary(file.parent, output))


def _step(file: Path, output: Path) -> tuple[float, bool]:
    try:
        return number(_read(file).get("global_step")) or 0.0, file.parent == output
    except InputError:
        return (float("inf") if file.parent == output else -1.0), False


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{file} is no object of JSON")
    return found


def _vocabulary(*folders: Path) -> str:
    """A digest of the tokenizer beside the state; empty where there is none."""
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    return ""
