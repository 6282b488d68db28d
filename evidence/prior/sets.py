"""Sets of real curves: each a few tasks, each task a pool, seen up to some part of its data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evidence.accuracy import own, published
from evidence.study.config import StudyConfig
from evidence.study.curves import own_curves
from lensllm.arrays import Floats
from lensllm.curves import Curves

OTHERS = Path(__file__).parents[1] / "accuracy" / "other_curves"
FOREIGN = ("lcdb", "colpret", "vision", "openlm", "lm")
"""Sets of curves that are no fine-tuning."""
DESIGN = ("published", "own_design", *FOREIGN)
REPORT = ("own_report",)
PARTS = (4, 8, 16, 32, 64, 128, 256, 512)
"""Parts of the data that may be seen, where a task has sizes that small."""


@dataclass(frozen=True)
class Case:
    """A task seen up to a part of its data.

    Attributes:
        source: the set.
        task: its name there.
        part: 1 / part of the data is seen.
        seen: the curves up to there.
        target: size that is forecast.
        truth: losses measured there, shape (K,).
    """

    source: str
    task: str
    part: int
    seen: Curves
    target: float
    truth: Floats

    def of(self, rows: NDArray[np.int_]) -> Case:
        """The same with these candidates alone."""
        seen = self.seen.of([self.seen.candidates[row] for row in rows])
        return replace(self, seen=seen, truth=self.truth[rows])


@cache
def curves_of(source: str) -> dict[str, Curves]:
    """The curves of a set by task; candidates without the largest size are left out."""
    if source == "published":
        return published.load()
    if source.startswith("own"):
        config = StudyConfig.read("evidence/study/study.yaml")
        return own_curves(config, config.design_tasks if source == "own_design" else config.report_tasks)
    table = pd.read_csv(OTHERS / f"{source}.csv")
    found = {}
    for task, rows in table.groupby("task", sort=False):
        wide = rows.pivot_table(index="candidate", columns="size", values="loss")
        wide = wide[wide.iloc[:, -1].notna()]
        errors = None
        if "se" in rows:
            errors = (
                rows.pivot_table(index="candidate", columns="size", values="se").reindex(wide.index).to_numpy(float)
            )
        found[str(task)] = Curves(
            tuple(wide.index), wide.columns.to_numpy(float), wide.to_numpy(float),
            standard_errors=np.zeros(0) if errors is None else errors,
        )  # fmt: skip
    return found


def cases(source: str) -> Iterator[Case]:
    """Every task of a set at every part of its data at which enough was measured."""
    parts = {"published": published.BUDGETS, "own_design": own.BUDGETS, "own_report": own.BUDGETS}.get(source, PARTS)
    for task, curves in curves_of(source).items():
        target = float(curves.sizes[-1])
        for part in parts:
            seen = curves.up_to(target / part * (1 + 1e-6))
            if (seen.sizes > 0).sum() >= 1:
                yield Case(source, task, part, seen, target, curves.losses[:, -1])
