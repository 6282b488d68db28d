"""The study's other table: every candidate probed on every task, before any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from evidence.study.config import StudyConfig
from evidence.study.runs import known_rows
from lensllm.candidates import find_candidates
from lensllm.probes.record import EXAMPLES, Probe
from lensllm.search.workers import ProbeJob, Setting, run_probes
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
    written = _table(rows)
    for name in [*config.design_tasks, *config.report_tasks]:
        task = read_task(name)
        setting = Setting(task, TrainingConfig(), Path(config.output_dir) / task.name)
        jobs = [ProbeJob(candidate, EXAMPLES) for candidate in candidates]
        waiting = [job for job in jobs if rows.get(setting.key(job), {}).get("status") != "done"]
        for job, probe in run_probes(waiting, setting, config.workers):
            progress(task.name, probe)
            key = setting.key(job)
            known = {column: getattr(probe, column) for column in (*FIRST[1:], *LAST[:-1])}
            rows[key] = {"task": task.name, **known, **probe.features(), "key": key}
            written = _table(rows)
            written.to_csv(table, index=False)
    return written


def _table(rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame(columns=FIRST + LAST)
    table = pd.DataFrame(rows.values())
    features = [column for column in table if column not in FIRST + LAST]
    return table[FIRST + features + LAST].sort_values(FIRST[:2], ignore_index=True)
