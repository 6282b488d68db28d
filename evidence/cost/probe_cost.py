"""How well the FLOPs of a probe are foreseen: what the study's probes took over `lensllm.search.cost.probe_flops`.

    python -m evidence probe-cost

Reads evidence/study/probes.csv and evidence/study/runs.csv, the design tasks alone. Writes
evidence/cost/probe_cost.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evidence.results import write_numbers
from evidence.study.config import STUDY, StudyConfig
from lensllm.candidates import find_candidate
from lensllm.errors import InputError
from lensllm.search.cost import probe_flops
from lensllm.tasks import read_task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

RESULT = Path(__file__).with_suffix(".json")
KEPT = ("candidate", "examples", "status", "nats_per_token", "nats_per_byte", "test_flops")


def ratios(study: StudyConfig, task_name: str) -> dict[str, float]:
    """What each candidate's probe took over what was foreseen."""
    task, training_config = read_task(task_name), TrainingConfig(max_test_examples=study.max_test_examples)
    runs, probes = pd.read_csv(study.table), pd.read_csv(study.probes_table)
    runs = runs[(runs.task == task_name) & (runs.examples == 0) & (runs.seed == 0)]
    took = probes[probes.task == task_name].set_index("candidate").flops
    found = {}
    for row in runs[list(KEPT)].to_dict("records"):
        zero_shot, candidate = Run(**row), find_candidate(row["candidate"])
        found[candidate.name] = float(
            took[candidate.name] / probe_flops(zero_shot, candidate.vocabulary, task, training_config)
        )
    return found


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """All design tasks whose every candidate was probed."""
    study = StudyConfig.read(STUDY)
    by_task: dict[str, dict[str, float]] = {}
    for name in study.design_tasks:
        try:
            found = ratios(study, name)
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        if len(found) == len(study.models):
            by_task[name] = found
    every = np.array([ratio for found in by_task.values() for ratio in found.values()])
    result: dict[str, Any] = {
        "command": "python -m evidence probe-cost",
        "took_over_foreseen": by_task,
        "median": float(np.median(every)),
        "middle_80_percent": np.quantile(every, [0.1, 0.9]).tolist(),
        "largest": float(every.max()),
        "within_a_factor_of_2": float(((every > 0.5) & (every < 2)).mean()),
    }
    print(json.dumps({key: value for key, value in result.items() if key != "took_over_foreseen"}))
    return write_numbers(result, json_file)
