"""The second study's table: one row a run, enough to go on from on another machine."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from lensllm.errors import InputError
from lensllm.files import write_whole
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.callbacks import Callback, Progress
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run

COLUMNS = [
    "task", "candidate", "model", "method", "lora_r", "examples", "seed", "status", "nats_per_token", "nats_per_byte",
    "standard_error", "validation", "learning_rate", "trials", "scores", "flops", "test_flops", "scoring_flops",
    "seconds", "tokens", "parameters", "trained_parameters", "error", "key",
]  # fmt: skip
ORDER = ["task", "seed", "candidate", "examples"]
JSON = ("trials", "scores")
MACHINE = ("seconds",)
"""What differs between two machines."""

Rows = dict[str, dict[str, Any]]
"""Row by key of the run."""


def read_rows(path: Path) -> Rows:
    """The rows written before; none if there is no such file. Numbers come back to the bit.

    Raises:
        InputError: if the file is something else.
    """
    if not path.is_file():
        return {}
    table = pd.read_csv(path, float_precision="round_trip").fillna({"error": ""})
    if missing := set(COLUMNS) - set(table):
        raise InputError(f"{path} is not the second study's table, it has no column {min(missing)!r}: move it away")
    return {row["key"]: row for row in table.to_dict("records")}


def frame(rows: Rows) -> pd.DataFrame:
    """The table of these rows."""
    return pd.DataFrame(rows.values(), columns=COLUMNS).sort_values(ORDER, ignore_index=True)


def row_of(job: FineTune, run: Run) -> dict[str, Any]:
    """A run's row."""
    method = job.candidate.method
    told = asdict(run)
    return {
        **{name: told[name] for name in COLUMNS if name in told},
        **{name: json.dumps(told[name]) for name in JSON},
        "task": job.task.name,
        "model": job.candidate.model_name,
        "method": method.name,
        "lora_r": getattr(method, "lora_r", 0),
        "key": job.key,
    }


def run_of(row: dict[str, Any]) -> Run:
    """The record of a row, without samples of its answers."""
    names = {field.name for field in fields(Run)} & set(row) - {*JSON}
    return Run.from_dict(
        {name: row[name] for name in names}
        | {name: json.loads(row[name]) for name in JSON}
        | {"subset_seed": row["seed"]}
    )


class Table(Callback):
    """Writes the table anew after every run.

    Args:
        path: the file.
        rows: of the table; gets the new ones.
        told: called with the task's name and the run.
    """

    def __init__(self, path: Path, rows: Rows, told: Any) -> None:
        self.path, self.rows, self.told = path, rows, told

    def on_run_end(self, job: Job, record: Record, progress: Progress) -> None:
        """Add the run's row, unless it stands there."""
        assert isinstance(job, FineTune)
        assert isinstance(record, Run)
        if self.rows.get(job.key, {}).get("status") in ("done", "diverged"):
            return
        self.rows[job.key] = row_of(job, record)
        write_whole(self.path, frame(self.rows).to_csv(index=False))
        self.told(job.task.name, record)
