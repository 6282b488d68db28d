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

MEASURES = {
    "sqrt(C) sum sqrt(h) / sqrt(n)": lambda table: table["curvature"],
    "sum sqrt(h) / sqrt(n)": lambda table: table["sum_sqrt_h"] / np.sqrt(table["examples"]),
    "distance / sqrt(n)": lambda table: table["distance"] / np.sqrt(table["examples"]),
    "1 / sqrt(n)": lambda table: 1 / np.sqrt(table["examples"]),
}
"""What may tell the gap; sum sqrt(h) over layers (paper, equation 4)."""


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


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    bound, test = table["bound"], table["test_loss"]
    return {
        "runs": len(table),
        "above_the_test_loss": int((bound >= test).sum()),
        "below_the_largest_loss": int((bound < table["largest_loss"]).sum()),
        "over_test_loss": float((bound / test).median()),
        "spearman_with_the_gap": {
            name: float(spearmanr(measure(table), table["gap"])[0]) for name, measure in MEASURES.items()
        },
        "flops_over_the_run": float((table["flops"] / table["run_flops"]).median()),
    }
