"""MLflow's folders of runs: one file a metric (`time value step` a line), one a setting."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from lensllm.curve_sources.history import History, number, plain_name
from lensllm.errors import InputError
from lensllm.text import shortened

LINE = re.compile(r"\d+ [-+.\deE]+( \d+)?|\d+ [-+]?(nan|inf(inity)?)( \d+)?", re.IGNORECASE)
"""Of a metric's file: milliseconds, value, step."""


def find_mlflow_runs(root: Path) -> dict[Path, Path]:
    """Every folder below that has `meta.yaml` and `metrics/`, each its own run; deleted ones are left out."""
    found = [file.parent for file in sorted(root.rglob("meta.yaml")) if (file.parent / "metrics").is_dir()]
    return {folder: folder for folder in found if ".trash" not in folder.parts}


def read_mlflow_run(folder: Path, name: str) -> History:
    """The history of a run, named as it was in MLflow where that is known.

    Args:
        folder: of the run.
        name: where it has none of its own.

    Raises:
        InputError: naming file and line of what is no number.
    """
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    metrics = folder / "metrics"
    for file in sorted(file for file in metrics.rglob("*") if file.is_file()):
        metric = plain_name(file.relative_to(metrics).as_posix())
        for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            parts = text.split()
            if not LINE.fullmatch(text.strip()):
                raise InputError(f"{file} line {line}: {shortened(text)!r} is not 'time value step'")
            step = int(parts[2]) if len(parts) > 2 else line
            if (value := number(parts[1])) is not None:
                rows[step][metric] = value
    settings = _texts(folder / "params")
    known = _texts(folder / "tags").get("mlflow.runName", "")
    ordered = tuple({**rows[step], "step": float(step)} for step in sorted(rows))
    return History(known or name, str(folder), ordered, settings)


def _texts(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    return {file.name: file.read_text(encoding="utf-8").strip() for file in folder.iterdir() if file.is_file()}
