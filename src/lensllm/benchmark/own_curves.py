"""Our own fine-tuning curves: the table that `lensllm bench run-study` writes, as curves by task."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lensllm.benchmark.study import COLUMNS, StudyConfig
from lensllm.curves import Curves
from lensllm.errors import InputError


def read_runs(config: StudyConfig) -> pd.DataFrame:
    """Every run of the study, one row each (columns of `lensllm.benchmark.study.COLUMNS`).

    Raises:
        InputError: if the table is missing or is something else.
    """
    path = Path(config.table)
    if not path.is_file():
        raise InputError(f"{path} does not exist yet: run `lensllm bench run-study` first")
    table = pd.read_csv(path)
    if missing := set(COLUMNS) - set(table):
        raise InputError(f"{path} is not a study's table, it has no column {min(missing)!r}")
    return table


def own_curves(config: StudyConfig, tasks: list[str]) -> dict[str, Curves]:
    """The curves (first seed, nats a byte) of those tasks that every candidate was fine-tuned on at every size.

    Raises:
        InputError: as `read_runs`; or if none of the tasks is complete.
    """
    runs = read_runs(config)
    runs = runs[(runs["seed"] == 0) & runs["task"].isin(tasks)]
    curves = {}
    for task in tasks:
        rows = runs[(runs["task"] == task)].rename(columns={"nats_per_byte": "loss"})
        wanted = len(config.models) * (1 + len(config.sizes))
        if len(rows) == wanted:
            features = rows.groupby("candidate")["parameters"].first().rename("size").to_frame()
            features["family"] = features.index.str.split("-").str[0]
            curves[task] = Curves.from_tidy(rows[["candidate", "examples", "loss"]], features).of(config.models)
    if not curves:
        raise InputError(f"{config.table} holds none of the tasks {', '.join(tasks)} complete: go on with the study")
    return curves
