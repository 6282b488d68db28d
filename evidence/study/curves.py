"""Our own fine-tuning curves: the table that `python -m evidence study` writes, as curves by task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from evidence.study.config import StudyConfig
from evidence.study.probes import FIRST, LAST
from evidence.study.runs import COLUMNS
from lensllm.curves import Curves
from lensllm.errors import InputError


def read_runs(config: StudyConfig) -> pd.DataFrame:
    """Every run of the study, one row each (columns of `evidence.study.runs.COLUMNS`).

    Raises:
        InputError: if the table is missing or is something else.
    """
    path = Path(config.table)
    if not path.is_file():
        raise InputError(f"{path} does not exist yet: run `python -m evidence study` first")
    table = pd.read_csv(path)
    if missing := set(COLUMNS) - set(table):
        raise InputError(f"{path} is not a study's table, it has no column {min(missing)!r}")
    return table


def own_curves(config: StudyConfig, tasks: list[str]) -> dict[str, Curves]:
    """The curves (first seed, nats a byte) of those tasks whose every run was made, with the probes as features.

    A candidate with a run that failed or diverged is left out of that task.

    Raises:
        InputError: as `read_runs`; or if none of the tasks is complete.
    """
    runs = read_runs(config)
    runs = runs[runs["seed"] == 0]
    probes = _probes(config)
    curves = {}
    for task in tasks:
        rows = runs[runs["task"] == task].set_index(["candidate", "examples"])
        if not all((model, size) in rows.index for model in config.models for size in (0, *config.sizes)):
            continue
        done = (rows["status"] == "done").groupby("candidate").all()
        kept = [model for model in config.models if done[model]]
        losses = rows["nats_per_byte"].rename("loss").reset_index()
        features = rows["parameters"].groupby("candidate").first().rename("size").to_frame()
        features["family"] = features.index.str.split("-").str[0]
        features = features.join(probes[probes["task"] == task].drop(columns="task"))
        curves[task] = Curves.from_tidy(losses[losses["candidate"].isin(kept)], features).of(kept)
    if not curves:
        raise InputError(f"{config.table} holds none of the tasks {', '.join(tasks)} complete: go on with the study")
    return curves


def seed_noise(config: StudyConfig, task: str) -> dict[int, float]:
    """Standard deviation of the log loss between seeds, by size, over the candidates measured twice.

    sqrt(mean((log L_1 - log L_0)^2) / 2): subset and training order differ, the learning rate and the test do not.

    Raises:
        InputError: as `read_runs`.
    """
    runs = read_runs(config)
    mine = runs[(runs["task"] == task) & (runs["status"] == "done")]
    table = mine.pivot_table(index=["examples", "candidate"], columns="seed", values="nats_per_byte").dropna()
    if table.shape[1] < 2:
        return {}
    square = np.log(table[1] / table[0]) ** 2 / 2
    return {int(size): float(np.sqrt(mean)) for size, mean in square.groupby("examples").mean().items()}


def _probes(config: StudyConfig) -> pd.DataFrame:
    """The features that probes measured, by candidate, and their task; no feature if the study has no probes."""
    if not config.probes_table or not Path(config.probes_table).is_file():
        return pd.DataFrame(columns=["task"])
    probes = pd.read_csv(config.probes_table)
    return probes[probes["status"] == "done"].set_index("candidate").drop(columns=[*FIRST[2:], *LAST])
