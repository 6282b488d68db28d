"""Does the phase of a candidate tell how wrong its forecast will be? On published curves and our own.

    python -m evidence phases

From every origin with four sizes or more, each of 30 models on FLAN, WMT19 and Gigaword, and each of the zoo's models
on the design tasks of the study that are complete, has a probability of the power phase from what is seen so far, and
the default selector forecasts 1, 3 and 5 doublings ahead (5 on the published curves alone, which are longer). The own
error (after taking out the mean over the models, over doublings^1.1 as the selector has it) is compared between models
with P(power) below and above one half: as it is, and among models of the same origin. Would forecasts be better with
wider intervals in the pre-power phase? Leave-one-task-out: the ratio of the two root mean squares on the other tasks is
the factor; what it adds to the mean log score (normal errors, one scale a task either way) of the one left out decides.
Writes evidence/theory/phases.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from evidence.accuracy.published import load
from evidence.results import write_numbers
from evidence.study.config import STUDY, StudyConfig
from evidence.study.curves import own_curves
from lensllm.curves import Curves
from lensllm.planning.phases import LEAST_SIZES, phases
from lensllm.selectors import GrowingSlopes
from lensllm.selectors.log_curves import LogCurves

RESULT = Path(__file__).with_suffix(".json")
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
                own = (error - error.mean()) / ahead**selector.candidate_error.exponent
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


def of_task(task: str, part: pd.DataFrame) -> dict[str, float]:
    """What the phase says of the errors on one task, and what the factor of the other tasks would gain there."""
    mine, others = part[part.task == task], part[part.task != task]
    factor = ratio(others)
    early = mine.p_power < HALF
    within = [spearmanr(group.own.abs(), group.p_power)[0] for _, group in mine.groupby("origin") if len(group) > 5]
    return {
        "pre_power": int(early.sum()),
        "power": int((~early).sum()),
        "ratio": ratio(mine),
        "factor_of_the_others": factor,
        "log_score_gain": log_score(mine.own, early, factor) - log_score(mine.own, early, 1.0),
        "spearman_within_origins": float(np.nanmean(within)),
    }


def at_the_end(curves: Curves) -> dict[str, float]:
    """How many candidates are in each phase with all sizes, and how the two transitions agree."""
    found = phases(curves)
    by_law, by_residuals = [p.by_law.size for p in found], [p.by_residuals.size for p in found]
    return {
        **{name: sum(p.phase == name for p in found) for name in ("power", "unclear", "pre-power", "unknown")},
        "median_transition_by_law": float(np.nanmedian(by_law)),
        "median_transition_by_residuals": float(np.nanmedian(by_residuals)),
        "spearman_of_the_two": float(spearmanr(by_law, by_residuals, nan_policy="omit")[0]),
    }


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """The published tasks and the design tasks of our own."""
    study = StudyConfig.read(STUDY)
    data = load() | own_curves(study, study.design_tasks)
    table = pd.concat([errors(task, curves) for task, curves in data.items()], ignore_index=True)
    parts = {ahead: table[table.ahead == ahead] for ahead in AHEAD}
    result = write_numbers(
        {
            "command": "python -m evidence phases",
            "by_horizon": {
                str(ahead): {"factor_all_tasks": ratio(part), **{t: of_task(t, part) for t in part.task.unique()}}
                for ahead, part in parts.items()
            },
            "at_the_end": {task: at_the_end(curves) for task, curves in data.items()},
        },
        json_file,
    )
    print(json.dumps(result, indent=1))
    return result
