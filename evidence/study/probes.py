"""The study's other table: every candidate probed on every task, before any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from evidence.study.config import StudyConfig
from evidence.study.runs import TableWriter, known_rows
from lensllm.candidates import find_candidates
from lensllm.execution import Processes
from lensllm.jobs import Job
from lensllm.probes.measure_job import Measure
from lensllm.probes.record import EXAMPLES, Probe
from lensllm.records import Record
from lensllm.search.base import Jobs
from lensllm.search.callbacks import Progress
from lensllm.search.driver import drive
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.training_config import TrainingConfig

FIRST = ["task", "candidate", "examples", "status"]
LAST = ["rows", "kernel_error", "flops", "seconds", "parameters", "error", "key"]


def run_study_probes(
    config: StudyConfig, progress: Callable[[str, Probe], None] = lambda task, probe: None
) -> pd.DataFrame:
    """Probe what has not been probed yet and write the table after every probe.

    A probe is known by its key, as runs are (`run_study`), so that the table is enough to go on from. Besides
    `FIRST` and `LAST` its columns are the features of `Probe.features`.

    Args:
        config: the study; its `probes_table` names the file.
        progress: called with the task and the probe after every probe.

    Returns:
        One row a candidate and task, as written.

    Raises:
        InputError: if that file is something else, or a task or model cannot be used.
    """
    table = Path(config.probes_table)
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = known_rows(table, FIRST + LAST, "a table of probes")
    candidates = find_candidates(config.models)
    for name in [*config.design_tasks, *config.report_tasks]:
        task = read_task(name)
        jobs = [Measure(candidate, task, TrainingConfig(), EXAMPLES) for candidate in candidates]
        waiting = [job for job in jobs if rows.get(job.key, {}).get("status") != "done"]
        store = Store(Path(config.output_dir) / task.name)
        with Processes(config.workers, threads=1) as executor:
            drive(Jobs(list(waiting)), executor, store, [_Rows(table, rows, task.name, progress)])
        store.close()
    return _table(rows)


class _Rows(TableWriter):
    """Adds a probe's row."""

    def on_run_end(self, job: Job, record: Record, progress: Progress) -> None:
        assert isinstance(record, Probe)
        self.progress(self.task, record)
        known = {column: getattr(record, column) for column in (*FIRST[1:], *LAST[:-1])}
        self.rows[job.key] = {"task": self.task, **known, **record.features(), "key": job.key}
        _table(self.rows).to_csv(self.table, index=False)


def _table(rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame(columns=FIRST + LAST)
    table = pd.DataFrame(rows.values())
    features = [column for column in table if column not in FIRST + LAST]
    return table[FIRST + features + LAST].sort_values(FIRST[:2], ignore_index=True)
