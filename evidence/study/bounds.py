"""The study's third table: the terms of the PAC-Bayes bound after fine-tuning, for a few candidates on every task."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd

from evidence.study.config import StudyConfig
from evidence.study.runs import known_rows
from lensllm.candidates import Candidate, find_candidates
from lensllm.errors import InputError
from lensllm.search.workers import Job, Setting, one_quiet_thread
from lensllm.tasks import read_task
from lensllm.theory.bound import Bound, bounds_of_ladder
from lensllm.tuning.run import Run

TERMS = [
    "train_loss", "test_loss", "gap", "largest_loss", "sum_sqrt_h", "distance", "curvature", "epsilon", "confidence",
    "bound", "flops",
]  # fmt: skip
COLUMNS = ["task", "candidate", "examples", "status", "learning_rate", *TERMS, "run_flops", "error", "key"]


def run_study_bounds(
    config: StudyConfig, progress: Callable[[str, dict[str, Any]], None] = lambda task, row: None
) -> pd.DataFrame:
    """Bound what has not been bounded yet and write the table after every ladder.

    Ladders are climbed as the study's own (`lensllm.theory.bound.bounds_of_ladder`), so that a row is of the same
    weights as the run of that task, candidate and size; its losses are means over examples where the run's is one over
    bytes. A row is known by its key, a hash of the keys of its rung and of
    those below it.

    Args:
        config: the study; `bounds_table`, `bounded_models` and `bounded_sizes` say where, of what and at which sizes.
        progress: called with the task and the row after every ladder, a row a size.

    Returns:
        One row a task, candidate and size, as written; losses in nats a byte, `COLUMNS`, terms as `Bound`'s.

    Raises:
        InputError: if that file is something else, or a task or model cannot be used.
    """
    table = Path(config.bounds_table)
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = known_rows(table, COLUMNS, "a table of bounds")
    written = _table(rows)
    candidates = find_candidates(config.bounded_models)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, spawn, initializer=one_quiet_thread) as pool:
        ladders = {}
        for name in [*config.design_tasks, *config.report_tasks]:
            task = read_task(name)
            setting = Setting(task, config.training_config(), Path(config.output_dir) / task.name)
            sizes = [size for size in config.bounded_sizes if size <= len(task.train)]
            for candidate in candidates:
                keys = _keys(setting, candidate, sizes)
                if not set(keys) <= set(rows):
                    ladders[pool.submit(_ladder, setting, candidate, sizes)] = keys
        for done in as_completed(ladders):
            for key, row in zip(ladders[done], done.result(), strict=True):
                rows[key] = row | {"key": key}
                progress(row["task"], row)
            written = _table(rows)
            written.to_csv(table, index=False)
    return written


def _table(rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows.values(), columns=COLUMNS).sort_values(COLUMNS[:3], ignore_index=True)


def _keys(setting: Setting, candidate: Candidate, sizes: list[int]) -> list[str]:
    rungs = [setting.key(Job(candidate, size)) for size in sizes]
    below = (["bound", *rungs[: place + 1]] for place in range(len(rungs)))
    return [hashlib.sha256(json.dumps(parts).encode()).hexdigest() for parts in below]


def _ladder(setting: Setting, candidate: Candidate, sizes: list[int]) -> list[dict[str, Any]]:
    """A row a size; one without terms where the run diverged or no bound applies, with the reason."""
    found: dict[int, dict[str, Any]] = {}

    def told(run: Run, bound: Bound | None) -> None:
        terms = bound.to_dict() if bound else {}
        found[run.examples] = {"status": run.status, "learning_rate": run.learning_rate, "run_flops": run.flops}
        found[run.examples] |= {"error": run.error} | {name: terms[name] for name in TERMS if name in terms}

    error = ""
    try:
        bounds_of_ladder(candidate, setting.task, sizes, setting.training_config, told)
    except InputError as problem:
        error = str(problem)
    missed = {"status": "failed", "error": error}
    identity = {"task": setting.task.name, "candidate": candidate.name}
    return [identity | {"examples": size} | found.get(size, missed) for size in sizes]
