"""Does the phase of a candidate tell how wrong its forecast will be? On published curves and our own.

    python benchmarks/phases.py

From every origin with four sizes or more, each of 30 models on FLAN, WMT19 and Gigaword, and each of the zoo's models
on the design tasks of the study that are complete, has a probability of the power phase from what is seen so far, and
the default selector forecasts 1, 3 and 5 doublings ahead (5 on the published curves alone, which are longer). The own
error (after taking out the mean over the models, over doublings^1.1 as the selector has it) is compared between models
with P(power) below and above one half: as it is, and among models of the same origin. Would forecasts be better with
wider intervals in the pre-power phase? Leave-one-task-out: the ratio of the two root mean squares on the other tasks is
the factor; what it adds to the mean log score (normal errors, one scale a task either way) of the one left out decides.
Writes benchmarks/results/phases.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from lensllm.benchmark.own_curves import own_curves
from lensllm.benchmark.published import load
from lensllm.benchmark.study import StudyConfig
from lensllm.curves import Curves
from lensllm.planning.phases import LEAST_SIZES, phases
from lensllm.selectors import GrowingSlopes
from lensllm.selectors.log_curves import LogCurves

AHEAD = (1, 3, 5)
HALF = 0.5


def errors(task: str, curves: Curves) -> pd.DataFrame:
    """One row a model, origin and horizon."""
    selector, logs = GrowingSlopes(), LogCurves.of(curves)
    rows = []
    for columns in range(LEAST_SIZES, logs.x.size):
        found = phases(curves.up_to(2 ** logs.x[columns - 1] * 1.01))
        for ahead in AHEAD:
            at = columns - 1 + ahead
            if at < logs.x.size:
                error = selector.log_losses(logs.up_to(columns), logs.x[[at]])[:, 0] - logs.y[:, at]
                own = (error - error.mean()) / ahead**selector.own.exponent
                rows += [
                    {"task": task, "origin": columns, "ahead": ahead, "p_power": p.p_power, "own": e}
                    for p, e in zip(found, own, strict=True)
                ]
    return pd.DataFrame(rows).dropna()


def log_score(own: pd.Series, widened: pd.Series, factor: float) -> float:
    """Mean log density of normal errors, `factor` times wider where `widened`, their scale fitted."""
    width = np.where(widened, factor, 1.0)
    scale = np.sqrt(np.mean((own / width) ** 2))
    return float(np.mean(-np.log(scale * width) - 0.5 * (own / (scale * width)) ** 2))


def ratio(table: pd.DataFrame) -> float:
    """Root mean square of the own error in the pre-power phase over that in the power phase, mean log over tasks.

    Tasks on which one of the phases was never seen are left out; NaN if that is all of them.
    """
    logs = []
    for _, part in table.groupby("task"):
        squares = (part.own**2).groupby(part.p_power < HALF).mean()
        if len(squares) == 2:
            logs.append(0.5 * np.log(squares[True] / squares[False]))
    return float(np.exp(np.mean(logs))) if logs else float("nan")


def main() -> None:
    study = StudyConfig.read(Path(__file__).parent / "study" / "study.yaml")
    data = load() | own_curves(study, study.design_tasks)
    table = pd.concat([errors(task, curves) for task, curves in data.items()], ignore_index=True)
    result: dict[str, Any] = {"command": "python benchmarks/phases.py", "by_horizon": {}}
    for ahead in AHEAD:
        part = table[table.ahead == ahead]
        entry: dict[str, Any] = {"factor_all_tasks": ratio(part)}
        for task in part.task.unique():
            mine, others = part[part.task == task], part[part.task != task]
            factor = ratio(others)
            early = mine.p_power < HALF
            within = [
                spearmanr(group.own.abs(), group.p_power)[0] for _, group in mine.groupby("origin") if len(group) > 5
            ]
            entry[task] = {
                "pre_power": int(early.sum()),
                "power": int((~early).sum()),
                "ratio": ratio(mine),
                "factor_of_the_others": factor,
                "log_score_gain": log_score(mine.own, early, factor) - log_score(mine.own, early, 1.0),
                "spearman_within_origins": float(np.nanmean(within)),
            }
        result["by_horizon"][str(ahead)] = entry
    last = {task: phases(data[task]) for task in data}
    result["at_the_end"] = {
        task: {name: sum(p.phase == name for p in found) for name in ("power", "unclear", "pre-power", "unknown")}
        | {
            "median_transition_by_law": float(np.nanmedian([p.by_law.size for p in found])),
            "median_transition_by_residuals": float(np.nanmedian([p.by_residuals.size for p in found])),
            "spearman_of_the_two": float(
                spearmanr([p.by_law.size for p in found], [p.by_residuals.size for p in found], nan_policy="omit")[0]
            ),
        }
        for task, found in last.items()
    }
    result = json.loads(json.dumps(result), parse_constant=lambda _: None)
    (Path(__file__).parent / "results" / "phases.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
