"""TensorBoard's event files, by TensorBoard's own reader."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

from lensllm.curve_sources.history import History, number, plain_name
from lensllm.errors import InputError

EVENTS = "*tfevents*"
STARTED = re.compile(r"[A-Z][a-z]{2}\d{2}_\d{2}-\d{2}-\d{2}_.*")
"""Trainer's folder of a run's events: `runs/Nov26_21-23-51_host`."""
SETTINGS = ("args/text_summary", "args")
"""Where Trainer's callback writes its arguments as JSON."""


def find_event_folders(root: Path) -> dict[Path, Path]:
    """Folder of each run -> that of its events: the same, or `runs/DATE_HOST` in it."""
    folders = sorted({file.parent for file in root.rglob(EVENTS) if file.is_file()})
    return {_run_of(folder, root): folder for folder in folders}


def read_events(folder: Path, name: str) -> History:
    """The history of the events in a folder, or of one file.

    Args:
        folder: of the event files, or one of them.
        name: of the run.

    Raises:
        InputError: if tensorboard is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise InputError(f"reading {folder} takes TensorBoard: pip install tensorboard") from error
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            if (value := number(event.value)) is not None:
                rows[event.step][plain_name(tag)] = value
    ordered = tuple({**rows[step], "step": float(step)} for step in sorted(rows))
    texts = [tag for tag in SETTINGS if tag in events.Tags()["tensors"]]
    settings = _settings(events.Tensors(texts[0])[0].tensor_proto.string_val[0]) if texts else {}
    return History(name, str(folder), ordered, settings)


def _run_of(folder: Path, root: Path) -> Path:
    if folder != root and folder.parent != root and folder.parent.name == "runs" and STARTED.fullmatch(folder.name):
        return folder.parent.parent
    return folder


def _settings(text: bytes) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}
