"""Make our own fine-tuning curves: every candidate, every task, every size, through the path that `select` takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lensllm.candidates import find_candidates
from lensllm.errors import InputError
from lensllm.search.ladder import Ladder
from lensllm.search.workers import Job, Setting, run_jobs
from lensllm.tasks import read_task
from lensllm.tuning.protocol import Protocol
from lensllm.tuning.run import Run

COLUMNS = [
    "task", "candidate", "examples", "seed", "subset_seed", "status", "nats_per_token", "nats_per_byte",
    "standard_error", "learning_rate", "flops", "test_flops", "seconds", "tokens", "parameters", "error",
]  # fmt: skip


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
    num_train_epochs: int = Field(Protocol.num_train_epochs, description="Passes over each subset.")
    workers: int = Field(2, ge=1, description="Worker processes of one thread.")
    output_dir: str = Field(description="Stores of the runs, one folder a task.")
    table: str = Field(description="CSV table of all runs, written anew after every task.")

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


def run_study(config: StudyConfig, progress: Callable[[str, Run], None] = lambda task, run: None) -> pd.DataFrame:
    """Run what has not been run yet and write the table.

    The learning rate of a candidate is chosen at the smallest size, on validation examples, and kept; repeated
    sizes use another seed for the subset and for the order of training.

    Args:
        config: the study.
        progress: called with the task and the run after every run.

    Returns:
        One row a run, as written to `config.table`.
    """
    rows: list[dict[str, object]] = []
    for name in [*config.design_tasks, *config.report_tasks]:
        for run in _task_runs(name, config):
            progress(name, run)
            rows.append({"task": name, **asdict(run)})
        table = pd.DataFrame(rows)[COLUMNS].sort_values(COLUMNS[:5], ignore_index=True)
        Path(config.table).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(config.table, index=False, float_format="%.8g")
    return table


def _task_runs(name: str, config: StudyConfig) -> Iterator[Run]:
    task = read_task(name)
    candidates = find_candidates(config.models)
    sizes = [size for size in config.sizes if size <= len(task.train)]
    protocol = Protocol(max_test_examples=config.max_test_examples, num_train_epochs=config.num_train_epochs)
    setting = Setting(task, protocol, Path(config.output_dir) / task.name)
    ladder = Ladder(candidates, task, protocol, sizes, budget=1)
    rates = {}
    for run in run_jobs(ladder.start(), setting, config.workers, ladder.after):
        if run.examples == sizes[0] and run.status == "done":
            rates[run.candidate] = run.learning_rate
        yield run
    again = [
        Job(candidate, size, rates[candidate.name])
        for candidate in candidates
        for size in config.repeated_sizes
        if candidate.name in rates and size in sizes
    ]
    other = replace(setting, protocol=replace(protocol, seed=1, subset_seed=1))
    yield from run_jobs(again, other, config.workers, lambda job, run: [])
