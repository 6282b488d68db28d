"""Make our own fine-tuning curves: every candidate, every task, every size, through the path that `select` takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from evidence.study.config import StudyConfig
from lensllm.candidates import find_candidates
from lensllm.errors import InputError
from lensllm.execution import Processes
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.base import Jobs
from lensllm.search.callbacks import Callback, Progress
from lensllm.search.driver import drive
from lensllm.search.ladder import Ladder
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import LearningRateTrial, Run

COLUMNS = [
    "task", "candidate", "examples", "seed", "subset_seed", "status", "nats_per_token", "nats_per_byte",
    "standard_error", "validation", "learning_rate", "trials", "flops", "test_flops", "seconds", "tokens",
    "parameters", "error", "key",
]  # fmt: skip
ORDER = ["task", "candidate", "examples", "seed"]


def run_study(config: StudyConfig, progress: Callable[[str, Run], None] = lambda task, run: None) -> pd.DataFrame:
    """Run what has not been run yet and write the table.

    Learning rates are chosen as `select` does, on validation examples; repeated sizes use another seed for the subset
    and for the order of training, and the learning rate of the first seed. A run is known by its key, which hashes
    everything that changes its result, so a committed table is enough to go on from on another machine.

    Args:
        config: the study.
        progress: called with the task and the run after every run.

    Returns:
        One row a run, as written to `config.table`.

    Raises:
        InputError: if that file is something else, or a task or model cannot be used.
    """
    table = Path(config.table)
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = known_rows(table, COLUMNS, "a study's table")
    for name in [*config.design_tasks, *config.report_tasks]:
        _task_runs(name, config, rows, progress)
    return _table(rows)


class TableWriter(Callback):
    """Writes the table anew after every run.

    Args:
        table: the file.
        rows: of the table, by key; gets the new ones.
        task: name of the task that runs.
        progress: called with the task and the record.
    """

    def __init__(
        self, table: Path, rows: dict[str, dict[str, Any]], task: str, progress: Callable[[str, Any], None]
    ) -> None:
        self.table, self.rows, self.task, self.progress = table, rows, task, progress

    def on_run_end(self, job: Job, record: Record, progress: Progress) -> None:
        """Add the run's row."""
        assert isinstance(record, Run)
        self.progress(self.task, record)
        trials = json.dumps([asdict(trial) for trial in record.trials])
        self.rows[job.key] = {**record.to_dict(), "trials": trials, "task": self.task, "key": job.key}
        _table(self.rows).to_csv(self.table, index=False)


def _table(rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows.values())[COLUMNS].sort_values(ORDER, ignore_index=True)


def known_rows(table: Path, columns: Sequence[str], kind: str) -> dict[str, dict[str, Any]]:
    """The rows of a table that was written before, by their key; none if there is no such file.

    Raises:
        InputError: if the file is not of this kind, which it is told by its columns.
    """
    if not table.is_file():
        return {}
    before = pd.read_csv(table).fillna({"error": ""})
    if missing := set(columns) - set(before):
        raise InputError(f"{table} is not {kind}, it has no column {min(missing)!r}: move it away")
    return {row["key"]: row for row in before.to_dict("records")}


def _task_runs(
    name: str, config: StudyConfig, rows: dict[str, dict[str, Any]], progress: Callable[[str, Run], None]
) -> None:
    task, training = read_task(name), config.training_config()
    sizes = [size for size in config.sizes if size <= len(task.train)]
    zero_shots = [FineTune(candidate, task, training, 0) for candidate in find_candidates(config.models)]
    store = Store(Path(config.output_dir) / task.name)
    _restore(rows, task.name, store)
    watcher = TableWriter(Path(config.table), rows, task.name, progress)
    with Processes(config.workers, threads=1) as executor:
        told = drive(Ladder(zero_shots, sizes), executor, store, [watcher])
        other = replace(training, seed=1, subset_seed=1)
        again = [
            FineTune(job.candidate, task, other, run.examples, learning_rate=run.learning_rate)
            for job, run in told
            if isinstance(job, FineTune) and isinstance(run, Run)
            if run.examples in config.repeated_sizes and run.status == "done"
        ]
        again.sort(key=lambda job: -job.examples)
        drive(Jobs(list(again)), executor, store, [watcher])
    store.close()


def _restore(known: dict[str, dict[str, Any]], task: str, store: Store) -> None:
    """Put the runs of a table that the store has not got into it."""
    names = {field.name for field in fields(Run)} - {"trials"}
    for key, row in known.items():
        if row["task"] == task and store.find(key, Run) is None:
            trials = [LearningRateTrial(**trial) for trial in json.loads(row["trials"])]
            store.put(key, task, Run(**{name: row[name] for name in names if name in row}, trials=trials))
