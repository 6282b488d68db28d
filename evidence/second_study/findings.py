"""What the second study shows: crossings, rules of thumb, loss against score, learning rates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from evidence.second_study.curves import Measured
from lensllm.search.regret import ExpectedRegret
from lensllm.search.replay import replay
from lensllm.selectors import default_selector, forecast_path

EARLY = 16
"""Part of the data at which a choice is looked at: 1/16."""
FORECAST = 8
"""Part of the data that a crossing is forecast from: 1/8."""
BUDGET = 0.1
STOP_P_BEST, STOP_REGRET = 0.95, 0.001
"""The defaults of `select`."""
APART = 0.01
"""Part of the loss below which two are not told apart: about twice what two seeds differ by."""
SURE = 1.645


def percent(worse: float, better: float) -> float:
    """By how many percent a loss lies above another."""
    return 100 * (worse / better - 1)


def best_early(task: Measured) -> dict[str, Any]:
    """The best at 1/16 of the data against the best at the end."""
    sizes = task.curves.sizes
    at = int(np.searchsorted(sizes, sizes[-1] / EARLY))
    early, last = task.curves.losses[:, at], task.last
    names = task.curves.candidates
    above, below = np.triu_indices(len(names), 1)
    turned = np.sign(early[above] - early[below]) != np.sign(last[above] - last[below])
    chosen, best = int(early.argmin()), int(last.argmin())
    return {
        "examples": int(sizes[at]),
        "chosen": names[chosen],
        "best": names[best],
        "regret": percent(last[chosen], last[best]),
        "pairs_turned": float(turned.mean()),
        "spearman": float(spearmanr(early, last).statistic),
        "best_by_size": {
            str(int(size)): names[int(k)] for size, k in zip(sizes, task.curves.losses.argmin(0), strict=True)
        },
    }


def crossings(task: Measured) -> list[dict[str, Any]]:
    """Full tuning against every LoRA of the same model: who leads at every size, and what a forecast from 1/8 says.

    A lead is the log ratio of LoRA's loss to full tuning's; above 0 full tuning leads. They cross if they are apart by
    more than `APART` at two sizes and on different sides.
    """
    sizes, losses = task.curves.sizes, task.curves.losses
    known = task.curves.up_to(sizes[-1] / FORECAST)
    path = forecast_path(default_selector(known), known, float(sizes[-1]))
    ahead = dict(zip(path.candidates, path.mean, strict=True))
    found = []
    for name in task.curves.candidates:
        full = task.named(str(task.curves.features.loc[name, "model"]), "full")
        if name == full or full not in task.curves.candidates:
            continue
        lead = np.log(losses[task.row(name)] / losses[task.row(full)])[sizes > 0]
        side = np.sign(lead) * (np.abs(lead) > APART)
        told = side[side != 0]
        turns = np.flatnonzero(np.diff(told)) if told.size else np.array([], dtype=int)
        later = int(np.searchsorted(sizes[sizes > 0], sizes[-1] / FORECAST, side="right")) - 1
        found.append(
            {
                "candidate": name,
                "leads": [round(float(one), 4) for one in lead],
                "crosses": bool(turns.size),
                "at": int(sizes[sizes > 0][np.flatnonzero(side != 0)[turns[-1] + 1]]) if turns.size else None,
                "crosses_later": bool(side[later] * side[-1] < 0),
                "foreseen": bool(np.sign(np.log(ahead[name] / ahead[full])) == np.sign(lead[-1])),
                "told_at_end": bool(side[-1] != 0),
            }
        )
    return found


def rules(task: Measured) -> dict[str, dict[str, Any]]:
    """Regret at the end, in percent of the loss, and cost of ways to choose; fine-tuning everything on all costs 1."""
    curves, flops = task.curves, task.flops
    features, last = curves.features, task.last
    largest = str(features["model"].loc[features["size"].idxmax()])
    everything = flops[:, -1].sum()
    best_model = {way: _of_way(task, way) for way in ("full", "lora r4", "lora r32")}
    found = {f"largest model, {way}": (task.named(largest, way), 0.0) for way in best_model}
    for way, names in best_model.items():
        rows = [task.row(name) for name in names]
        zero = curves.losses[rows, 0]
        found[f"best as it came, {way}"] = (names[int(zero.argmin())], float(flops[:, 0].sum()))
        found[f"the best model (known), {way}"] = (names[int(last[rows].argmin())], float(flops[rows, -1].sum()))
    for part in (64, EARLY):
        at = int(np.searchsorted(curves.sizes, curves.sizes[-1] / part))
        told = f"best at {int(curves.sizes[at]):,} examples (1/{part})"
        found[told] = (curves.candidates[int(curves.losses[:, at].argmin())], float(flops[:, : at + 1].sum()))
    found[f"select at {BUDGET:g} of the compute"] = _selected(task, everything)
    return {
        name: {"chosen": chosen, "regret": percent(last[task.row(chosen)], last.min()), "cost": cost / everything}
        for name, (chosen, cost) in found.items()
        if chosen in curves.candidates
    }


def _of_way(task: Measured, way: str) -> list[str]:
    models = dict.fromkeys(task.curves.features["model"])
    return [name for model in models if (name := task.named(model, way)) in task.curves.candidates]


def _selected(task: Measured, everything: float) -> tuple[str, float]:
    """What `select` would choose with its defaults, its decisions taken again on these curves."""
    steps = replay(ExpectedRegret(STOP_P_BEST, STOP_REGRET), task.curves, task.costs / everything, budget=BUDGET)
    return steps[-1].decision.choice, steps[-1].spent * everything


def loss_and_score(task: Measured, names: list[str]) -> dict[str, dict[str, Any]]:
    """For each score: how its order at the end agrees with the loss's, and what choosing by the loss costs in score."""
    found = {}
    for name in names:
        values, errors = task.scores(name)
        by_loss, by_score = int(task.last.argmin()), int(values[:, -1].argmax())
        gap = values[by_score, -1] - values[by_loss, -1]
        falls = np.diff(task.curves.losses) < 0
        worse = -np.diff(values) > SURE * np.hypot(errors[:, 1:], errors[:, :-1])
        found[name] = {
            "spearman": float(spearmanr(-task.last, values[:, -1]).statistic),
            "best_by_loss": task.curves.candidates[by_loss],
            "best_by_score": task.curves.candidates[by_score],
            "score_of_best_by_loss": float(values[by_loss, -1]),
            "best_score": float(values[by_score, -1]),
            "gap_in_standard_errors": float(gap / np.hypot(errors[by_score, -1], errors[by_loss, -1])),
            "steps_where_loss_falls_and_score_too": float((falls & worse)[:, 1:].mean()),
        }
    return found


def learning_rates(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By method, from the trials at the first rung: how often each rate won, what the others lose on validation.

    The losses are those of the 100 validation examples that chose, so the regret of the best rate is 0 by choice; what
    is read is how flat or steep the choice is. `retrained` is the part of later rungs that were trained again, lower.
    """
    found = {}
    named = rows["method"] + rows["lora_r"].map(lambda r: f" r{r}" if r else "")
    for way, mine in rows[rows["seed"] == 0].groupby(named):
        trials: dict[int, list[list[dict[str, float]]]] = {}
        for size, text in zip(mine["examples"], mine["trials"], strict=True):
            trials.setdefault(int(size), []).append(json.loads(text))
        first = min((size for size in trials if size), default=0)
        losses = np.array([[one["validation"] for one in of] for of in trials.get(first, []) if len(of) == 3])
        later = [len(of) > 1 for size, each in trials.items() if size > first for of in each]
        if losses.size:
            regret = 100 * (losses / losses.min(1, keepdims=True) - 1)
            found[str(way)] = {
                "won_lowest": float((losses.argmin(1) == 0).mean()),
                "won_middle": float((losses.argmin(1) == 1).mean()),
                "won_highest": float((losses.argmin(1) == 2).mean()),
                "median_regret_of_middle": float(np.median(regret[:, 1])),
                "median_regret_of_highest": float(np.median(regret[:, 2])),
                "retrained": float(np.mean(later)) if later else float("nan"),
            }
    return found


def seed_noise(rows: pd.DataFrame) -> dict[str, float]:
    """Standard deviation of the log loss between seeds at one size and candidate, by method; NaN without repeats."""
    done = rows[(rows["status"] == "done") & (rows["examples"] > 0)]
    logs = np.log(done["nats_per_byte"])
    groups = logs.groupby([done["method"], done["candidate"], done["examples"]])
    spread = groups.var()[groups.size() > 1]
    return {str(method): float(np.sqrt(of.mean())) for method, of in spread.groupby(level=0)}


def findings(tasks: list[Measured], scores: Mapping[str, list[str]]) -> dict[str, Any]:
    """All of it, by task, and the learning rates of all tasks together."""
    return {
        "tasks": {
            task.name: {
                "candidates": len(task.curves.candidates),
                "examples": int(task.curves.sizes[-1]),
                "best_early": best_early(task),
                "crossings": crossings(task),
                "rules": rules(task),
                "scores": loss_and_score(task, scores[task.name]),
                "seed_noise": seed_noise(task.rows),
            }
            for task in tasks
        },
        "learning_rates": learning_rates(pd.concat([task.rows for task in tasks])),
    }
