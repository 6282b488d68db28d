"""Make our own fine-tuning curves: every candidate, every task, every size, through the path that `select` takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lensllm.candidates import find_candidates
from lensllm.errors import InputError
from lensllm.search.ladder import Ladder
from lensllm.search.workers import Job, Setting, run_jobs
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.run import LearningRateTrial, Run
from lensllm.tuning.training_config import TrainingConfig

COLUMNS = [
    "task", "candidate", "examples", "seed", "subset_seed", "status", "nats_per_token", "nats_per_byte",
    "standard_error", "validation", "learning_rate", "trials", "flops", "test_flops", "seconds", "tokens",
    "parameters", "error", "key",
]  # fmt: skip
ORDER = ["task", "candidate", "examples", "seed"]


class StudyConfig(BaseModel):
    """What a study runs; its YAML file holds these keys."""

    model_config = ConfigDict(extra="forbid")

    design_tasks: list[str] = Field(description="Tasks that defaults may be chosen on.")
    report_tasks: list[str] = Field(description="Tasks that the chosen defaults are scored on, once.")
    models: list[str] = Field(min_length=1, description="Candidates.")
    sizes: list[int] = Field(
        min_length=1, description="Numbers of training examples; those a task has not are left out."
    )
    repeated_sizes: list[int] = Field([], description="Sizes measured once more with another subset and order.")
    max_test_examples: int = Field(1000, description="Test examples measured a run.")
    num_train_epochs: int = Field(TrainingConfig.num_train_epochs, description="Passes over each subset.")
    workers: int = Field(2, ge=1, description="Worker processes of one thread.")
    output_dir: str = Field(description="Stores of the runs, one folder a task.")
    table: str = Field(description="CSV table of all runs, written after every run.")
    probes_table: str = Field("", description="CSV table of all probes, made before the runs; none if empty.")
    bounds_table: str = Field("", description="CSV table of the bound's terms, made after the runs; none if empty.")
    bounded_models: list[str] = Field([], description="Candidates that the bound is computed for.")
    bounded_sizes: list[int] = Field([], description="Numbers of training examples that it is computed at.")

    @classmethod
    def read(cls, path: str | Path) -> StudyConfig:
        """Read a YAML file.

        Raises:
            InputError: if it is missing, not YAML, or has other keys.
        """
        try:
            return cls(**yaml.safe_load(Path(path).read_text()))
        except OSError as error:
            raise InputError(f"no such study: {path}") from error
        except (yaml.YAMLError, ValidationError, TypeError) as error:
            raise InputError(f"{path} is not a study: {' '.join(str(error).split())}") from error

    def training_config(self) -> TrainingConfig:
        """How every run is trained and measured."""
        return TrainingConfig(max_test_examples=self.max_test_examples, num_train_epochs=self.num_train_epochs)


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
        for key, task, run in _task_runs(name, config, rows):
            progress(task, run)
            rows[key] = {**asdict(run), "trials": json.dumps([asdict(t) for t in run.trials]), "task": task, "key": key}
            written = pd.DataFrame(rows.values())[COLUMNS].sort_values(ORDER, ignore_index=True)
            written.to_csv(table, index=False)
    return written


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


def _task_runs(name: str, config: StudyConfig, known: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, Run]]:
    task = read_task(name)
    candidates = find_candidates(config.models)
    sizes = [size for size in config.sizes if size <= len(task.train)]
    setting = Setting(task, config.training_config(), Path(config.output_dir) / task.name)
    _restore(known, task.name, setting.folder)
    ladder = Ladder(candidates, task, sizes)
    again: list[Job] = []
    for job, run in run_jobs(ladder.start(), setting, config.workers, ladder.after):
        if run.examples in config.repeated_sizes and run.status == "done":
            again.append(Job(job.candidate, run.examples, run.learning_rate))
        yield setting.key(job), task.name, run
    other = replace(setting, training_config=replace(setting.training_config, seed=1, subset_seed=1))
    for job, run in run_jobs(again, other, config.workers, lambda job, run: []):
        yield other.key(job), task.name, run


def _restore(known: dict[str, dict[str, Any]], task: str, folder: Path) -> None:
    """Put the runs of a table that the store has not got into it."""
    store = Store(folder)
    names = {field.name for field in fields(Run)} - {"trials"}
    for key, row in known.items():
        if row["task"] == task and store.find(key) is None:
            trials = [LearningRateTrial(**trial) for trial in json.loads(row["trials"])]
            store.put(key, task, Run(**{name: row[name] for name in names if name in row}, trials=trials))
    store.close()
