"""Make the second study's curves: models x methods on every task, through the path that `select` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from evidence.second_study.config import SecondStudy, task_name
from evidence.second_study.estimate import hours_left
from evidence.second_study.table import MACHINE, Rows, Table, frame, read_rows, row_of, run_of
from lensllm.candidates import Candidate, cross
from lensllm.errors import InputError
from lensllm.execution import Processes
from lensllm.inputs import read_inputs, read_scoring
from lensllm.scores.scoring import Scoring
from lensllm.search.base import Jobs
from lensllm.search.driver import drive
from lensllm.search.ladder import Ladder
from lensllm.store import Store
from lensllm.tasks import Task, read_task
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.quiet import quiet
from lensllm.tuning.run import Run

Told = Callable[[str, Run], None]


@dataclass(frozen=True)
class OfTask:
    """One task of the study, read and checked against all candidates, as `select` does.

    Attributes:
        study: what is run.
        source: the task, as the study names it.
    """

    study: SecondStudy
    source: str

    @cached_property
    def _read(self) -> tuple[Task, list[Candidate], Scoring | None]:
        config = self.study.select_config(self.source)
        task, found = read_inputs(config, config.model_names())
        models = {model.model_name_or_path: model for model in found.admitted}
        with quiet():
            crossed = cross([(models[name], method) for name, method in config.asked()], config.lora())
        if refused := {**{one.name: one.reason for one in found.refused}, **crossed.refused}:
            raise InputError("; ".join(refused.values()))
        return task, list(crossed.candidates), read_scoring(config, task, list(crossed.candidates))[0]

    @property
    def name(self) -> str:
        """Of the task, in the table."""
        return task_name(self.source)

    @property
    def task(self) -> Task:
        """Its examples."""
        return self._read[0]

    def firsts(self) -> list[FineTune]:
        """The first job of every candidate: its model as it came."""
        task, candidates, scoring = self._read
        training = self.study.select_config(self.source).training_config()
        return [FineTune(one, task, training, 0, scoring=scoring) for one in candidates]

    def sizes(self, *, large: bool) -> list[int]:
        """Those measured that the task has."""
        wanted = [*self.study.small_sizes, *(self.study.large_sizes if large else [])]
        return [size for size in wanted if size <= len(self.task.train)]

    def again(self, told: list[tuple[FineTune, Run]]) -> list[FineTune]:
        """The jobs of the repeated sizes: another subset and order, the learning rate of the first."""
        jobs = []
        for seed in range(1, self.study.repeats + 1):
            for job, run in told:
                if run.examples in self.study.repeated_sizes and run.status == "done":
                    other = replace(job.training_config, seed=seed, subset_seed=seed)
                    rate = {"learning_rate": run.learning_rate, "previous_validation_loss": None}
                    jobs.append(replace(job, training_config=other, **rate))  # type: ignore[arg-type]
        return sorted(jobs, key=lambda job: -job.examples)


def run_second_study(study: SecondStudy, told: Told = lambda task, run: None) -> pd.DataFrame:
    """Run what has not been run yet and write the table after every run.

    First the small sizes of every design task, then their large ones, then both of the report tasks, then the repeated
    sizes in the same order. A run is known by its key, which hashes everything that changes its result, so a committed
    table is enough to go on from on another machine.

    Args:
        study: what is run.
        told: called with the task's name and the run after every new run.

    Returns:
        The table.

    Raises:
        InputError: if the table's file is something else, or a task or model cannot be used.
    """
    table = Path(study.table)
    rows = read_rows(table)
    for source, large, repeated in stages(study):
        _stage(OfTask(study, source), Table(table, rows, told), large, repeated)
    return frame(rows)


def process_hours_left(study: SecondStudy) -> float:
    """Hours of one process that the runs without a row in the table take; NaN before any was made."""
    train = {OfTask(study, source).name: len(read_task(source).train) for source in study.tasks}
    return hours_left(study, read_rows(Path(study.table)).values(), train)


def stages(study: SecondStudy) -> list[tuple[str, bool, bool]]:
    """Task, whether with large sizes, whether with repeated ones, in an order in which partial tables are useful."""
    kinds = [(False, False)] * bool(study.large_sizes) + [(True, False)]
    ladders = [
        (source, *kind) for tasks in (study.design_tasks, study.report_tasks) for kind in kinds for source in tasks
    ]
    return [*ladders, *((source, True, True) for source in study.tasks)]


def _stage(of: OfTask, table: Table, large: bool, repeated: bool) -> None:
    store = Store(Path(of.study.output_dir) / of.name)
    restore(table.rows, of.name, store)
    try:
        with Processes(of.study.workers, threads=1) as processes:
            told = drive(Ladder(of.firsts(), of.sizes(large=large)), processes, store, [table])
            if repeated:
                runs = [(job, run) for job, run in told if isinstance(job, FineTune) and isinstance(run, Run)]
                drive(Jobs(list(of.again(runs))), processes, store, [table])
    finally:
        store.close()


def restore(rows: Rows, task: str, store: Store) -> None:
    """Put the runs of a table that the store has not got into it."""
    for key, row in rows.items():
        if row["task"] == task and row["status"] != "failed" and store.find(key, Run) is None:
            store.put(key, task, run_of(row))


def make_again(study: SecondStudy, key: str) -> tuple[dict[str, Any], list[str]]:
    """Make one row of the table again, from nothing but the table and what ships.

    Args:
        study: what it is of.
        key: of the row, or its beginning.

    Returns:
        The new row, and the columns that differ from the old one; seconds may.

    Raises:
        InputError: if there is no such row, or its job is another one now (another version of code, task or model).
    """
    rows = read_rows(Path(study.table))
    found = [row for row in rows.values() if str(row["key"]).startswith(key)]
    if len(found) != 1:
        raise InputError(f"{len(found)} rows of {study.table} have a key that begins with {key!r}: give more of it")
    old = found[0]
    job = _job_of(study, old, rows)
    if job.key != old["key"]:
        raise InputError(f"what would be run has the key {job.key}: code, task or model changed since that row")
    with Processes(1, threads=1) as process:
        process.submit(job)
        outcome = process.wait()
    run = outcome[1] if outcome else None
    assert isinstance(run, Run), run
    new = row_of(job, run)
    shared = job.examples == 0 and old["flops"] == 0
    own = [name for name in new if name not in MACHINE and not (shared and name == "flops")]
    return new, [
        name for name in own if not (new[name] == old[name] or (new[name] != new[name] and pd.isna(old[name])))
    ]


def _job_of(study: SecondStudy, row: dict[str, Any], rows: Rows) -> FineTune:
    """The job of a row: learning rate and validation loss come from the rows that it followed."""
    source = next((one for one in study.tasks if task_name(one) == row["task"]), None)
    if source is None:
        raise InputError(f"the study has no task {row['task']}")
    of = OfTask(study, source)
    first = next(job for job in of.firsts() if job.candidate.name == row["candidate"])
    before = {
        one["examples"]: run_of(one)
        for one in rows.values()
        if one["task"] == row["task"] and one["candidate"] == row["candidate"] and one["seed"] == 0
    }
    if row["seed"]:
        same = replace(first, examples=row["examples"])
        return next(
            job for job in of.again([(same, before[row["examples"]])]) if job.training_config.seed == row["seed"]
        )
    below = [size for size in sorted(before) if size < row["examples"]]
    if not below:
        return first
    job = replace(first, examples=below[-1]).next(before[below[-1]], row["examples"], first.estimate)
    assert job is not None
    return job
