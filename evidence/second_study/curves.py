"""The second study's table as curves: those tasks that are complete, each with the cost of every run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evidence.second_study.config import SecondStudy, task_name
from evidence.second_study.table import frame, read_rows
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError


@dataclass(frozen=True)
class Measured:
    """One task, every candidate at every size (seed 0).

    Attributes:
        name: of the task.
        curves: losses in nats a byte; size, family, model and method of each candidate as features.
        flops: of every run, shape (K, S).
        rows: of the table, repeated runs included.
    """

    name: str
    curves: Curves
    flops: Floats
    rows: pd.DataFrame

    @property
    def last(self) -> Floats:
        """Losses at the largest size, shape (K,)."""
        return self.curves.losses[:, -1]

    @property
    def costs(self) -> Floats:
        """FLOPs of every tuned run, shape (K, S - 1); the model as it came is charged with the first."""
        tuned = self.flops[:, 1:].copy()
        tuned[:, 0] += self.flops[:, 0]
        return tuned

    def row(self, name: str) -> int:
        """The place of a candidate."""
        return self.curves.candidates.index(name)

    def named(self, model: str, method: str) -> str:
        """The candidate of a model and a method such as `full` and `lora r4`."""
        return f"{model} {method}"

    def scores(self, score: str) -> tuple[Floats, Floats]:
        """Value of a score and its standard error, each of shape (K, S)."""
        first = self.rows[self.rows["seed"] == 0].set_index(["candidate", "examples"])["scores"]
        found = [
            [_score(first[name, int(size)], score) for size in self.curves.sizes] for name in self.curves.candidates
        ]
        values = np.array(found)
        return values[..., 0], values[..., 1]


def measured(study: SecondStudy, *, report: bool = False) -> list[Measured]:
    """The complete tasks of one side of the split.

    A candidate with a run that failed or diverged is left out of its task.

    Args:
        study: whose table is read.
        report: the report tasks, not the design tasks.

    Raises:
        InputError: if none is complete, or the table is something else.
    """
    table = frame(read_rows(Path(study.table)))
    tasks = [task_name(one) for one in (study.report_tasks if report else study.design_tasks)]
    found = [one for task in tasks if (one := _of_task(study, task, table[table["task"] == task])) is not None]
    if not found:
        raise InputError(f"{study.table} holds none of the tasks {', '.join(tasks)} complete: go on with the study")
    return found


def _of_task(study: SecondStudy, task: str, rows: pd.DataFrame) -> Measured | None:
    """The task at the sizes that all candidates have; None before the largest of them was begun and ended."""
    first = rows[rows["seed"] == 0]
    if first["candidate"].nunique() < len(study.models) * len(study.methods):
        return None
    losses = first.pivot_table(index="candidate", columns="examples", values="nats_per_byte", dropna=False)
    wrong = first[first["status"] != "done"]["candidate"].unique()
    losses = losses.drop(index=wrong)
    if losses.isna().any(axis=None) or losses.columns[-1] <= max(study.small_sizes) < min(study.large_sizes, default=0):
        return None
    about = first.groupby("candidate").first().loc[losses.index]
    features = pd.DataFrame(
        {
            "size": about["parameters"],
            "family": about["model"].str.split("-").str[0],
            "model": about["model"],
            "method": about["method"],
        }
    )
    errors = first.pivot_table(index="candidate", columns="examples", values="standard_error").loc[losses.index]
    flops = first.pivot_table(index="candidate", columns="examples", values="flops").loc[losses.index]
    curves = Curves(
        tuple(losses.index),
        losses.columns.to_numpy(float),
        losses.to_numpy(),
        features,
        standard_errors=errors.to_numpy(),
    )
    return Measured(task, curves, flops.to_numpy(float), rows)


def _score(text: str, name: str) -> tuple[float, float]:
    found: dict[str, Any] = json.loads(text).get(name, {})
    return found.get("value", np.nan), found.get("standard_error", np.nan)
