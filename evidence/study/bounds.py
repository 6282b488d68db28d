"""The study's third table: the terms of the PAC-Bayes bound after fine-tuning, for a few candidates on every task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from evidence.study.config import StudyConfig
from evidence.study.runs import known_rows
from lensllm.candidates import Candidate, find_candidates
from lensllm.errors import NothingMeasured
from lensllm.execution import Processes
from lensllm.jobs import Job
from lensllm.records import Record
from lensllm.search.driver import drive
from lensllm.search.ladder import Ladder
from lensllm.store import Store
from lensllm.tasks import Task, read_task
from lensllm.theory.bound_job import BoundOf, BoundTerms
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.training_config import TrainingConfig

TERMS = [
    "train_loss", "test_loss", "gap", "largest_loss", "sum_sqrt_h", "distance", "curvature", "epsilon", "confidence",
    "bound", "flops",
]  # fmt: skip
COLUMNS = ["task", "candidate", "examples", "status", "learning_rate", *TERMS, "run_flops", "error", "key"]


def run_study_bounds(
    config: StudyConfig, progress: Callable[[str, dict[str, Any]], None] = lambda task, row: None
) -> pd.DataFrame:
    """Bound what has not been bounded yet and write the table after every task.

    Ladders are climbed as the study's own (`lensllm.theory.bound_job.BoundOf`), so that a row is of the same
    weights as the run of that task, candidate and size; its losses are means over examples where the run's is one over
    bytes. A row is known by its key, a hash of the keys of its rung and of
    those below it.

    Args:
        config: the study; `bounds_table`, `bounded_models` and `bounded_sizes` say where, of what and at which sizes.
        progress: called with the task and the row for every row.

    Returns:
        One row a task, candidate and size, as written; losses in nats a byte, `COLUMNS`, terms as `Bound`'s.

    Raises:
        InputError: if that file is something else, or a task or model cannot be used.
    """
    table = Path(config.bounds_table)
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = known_rows(table, COLUMNS, "a table of bounds")
    candidates = find_candidates(config.bounded_models)
    for name in [*config.design_tasks, *config.report_tasks]:
        task, training = read_task(name), config.training_config()
        sizes = [size for size in config.bounded_sizes if size <= len(task.train)]
        waiting = [c for c in candidates if not set(_keys(c, task, training, sizes)) <= set(rows)]
        if not waiting:
            continue
        for row in _bounded(waiting, task, training, sizes, config):
            rows[row["key"]] = row
            progress(row["task"], row)
        _table(rows).to_csv(table, index=False)
    return _table(rows)


def _table(rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows.values(), columns=COLUMNS).sort_values(COLUMNS[:3], ignore_index=True)


def _keys(candidate: Candidate, task: Task, training: TrainingConfig, sizes: list[int]) -> list[str]:
    rungs = [FineTune(candidate, task, training, size).key for size in sizes]
    below = (["bound", *rungs[: place + 1]] for place in range(len(rungs)))
    return [hashlib.sha256(json.dumps(parts).encode()).hexdigest() for parts in below]


def _bounded(
    candidates: list[Candidate], task: Task, training: TrainingConfig, sizes: list[int], config: StudyConfig
) -> list[dict[str, Any]]:
    """A row a candidate and size; one without terms where the run diverged or no bound applies, with the reason."""
    jobs = [BoundOf(candidate, task, training, sizes[0]) for candidate in candidates]
    store = Store(Path(config.output_dir) / task.name)
    reasons: dict[str, str] = {}
    told: list[tuple[Job, Record]] = []
    with Processes(config.workers, threads=1) as executor:
        try:
            told = drive(Ladder(jobs, sizes), executor, store)
        except NothingMeasured as nothing:
            reasons = nothing.reasons
    store.close()
    found = {(record.candidate, record.examples): record for _, record in told}
    rows = []
    for candidate in candidates:
        errors = [record.error for _, record in told if record.candidate == candidate.name and record.error]
        error = "; ".join(errors) or reasons.get(candidate.name, "")
        keys = _keys(candidate, task, training, sizes)
        for size, key in zip(sizes, keys, strict=True):
            row = {"task": task.name, "candidate": candidate.name, "examples": size, "key": key}
            rows.append(row | _terms(found.get((candidate.name, size)), error))
    return rows


def _terms(record: Record | None, error: str) -> dict[str, Any]:
    if not isinstance(record, BoundTerms):
        return {"status": "failed", "error": error}
    terms = record.bound.to_dict() if record.bound else {}
    known = {"status": record.status, "learning_rate": record.learning_rate, "run_flops": record.flops}
    return known | {"error": record.error} | {name: terms[name] for name in TERMS if name in terms}
