"""The bound on the study's own runs: is it above the test loss, how tight is it, and does it tell the gap?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from evidence.study.bounds import COLUMNS
from evidence.study.config import StudyConfig
from evidence.study.runs import known_rows
from lensllm.arrays import Floats
from lensllm.theory.bound import DELTA

MEASURES = {
    "sqrt(C) sum sqrt(h) / sqrt(n)": lambda table: table["curvature"],
    "sum sqrt(h) / sqrt(n)": lambda table: table["sum_sqrt_h"] / np.sqrt(table["examples"]),
    "distance / sqrt(n)": lambda table: table["distance"] / np.sqrt(table["examples"]),
    "1 / sqrt(n)": lambda table: 1 / np.sqrt(table["examples"]),
}
"""What may tell the gap; sum sqrt(h) over layers (paper, equation 4)."""
EPSILONS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
"""Values of eps that are fixed before the data are seen; the best of them is taken, at the price of a union bound."""


def own_bounds(config: StudyConfig, tasks: list[str]) -> dict[str, dict[str, Any]]:
    """By task, over all bounded runs: validity, tightness and Spearman of each measure with test minus training loss.

    Empty where the study has no bounds of a task.

    Raises:
        InputError: if the table is something else.
    """
    rows = known_rows(Path(config.bounds_table), COLUMNS, "a table of bounds") if config.bounds_table else {}
    table = pd.DataFrame(rows.values(), columns=COLUMNS)
    table = table[table["status"] == "done"]
    return {task: _summary(table[table["task"] == task]) for task in tasks if (table["task"] == task).any()}


def value(table: pd.DataFrame, curvature: Floats | float, epsilons: Floats | None = None) -> Floats:
    """(1 + eps) A + (1 + eps)^2 / eps K with A = Lhat + curvature, K = C ln(J / delta) / (2 n), shape (runs,).

    Args:
        table: rows of the table of bounds.
        curvature: term of each run.
        epsilons: the J values among which eps is chosen; None for the one at which it is lowest, chosen after the data
            and with J = 1, which is what `lensllm bound` prints.
    """
    base = (table["train_loss"] + curvature).to_numpy(float)[:, None]
    unit = (table["largest_loss"] / (2 * table["examples"])).to_numpy(float)[:, None]
    spread = unit * np.log((1 if epsilons is None else epsilons.size) / DELTA)
    eps = np.sqrt(spread / (base + spread)) if epsilons is None else epsilons
    return np.asarray(((1 + eps) * base + (1 + eps) ** 2 / eps * spread).min(axis=1))


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    bound, test = table["bound"], table["test_loss"]
    return {
        "runs": len(table),
        "above_the_test_loss": int((bound >= test).sum()),
        "below_the_largest_loss": int((bound < table["largest_loss"]).sum()),
        "above_without_curvature": int((value(table, 0.0) >= test).sum()),
        "over_test_loss": float((bound / test).median()),
        "union_bound": float((value(table, table["curvature"], EPSILONS) / bound).median()),
        "spearman_with_the_gap": {
            name: float(spearmanr(measure(table), table["gap"])[0]) for name, measure in MEASURES.items()
        },
        "flops_over_the_run": float((table["flops"] / table["run_flops"]).median()),
    }
