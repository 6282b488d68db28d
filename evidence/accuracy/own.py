"""Our own fine-tuning curves: every selector, task, budget and pool, and how calibrated the default is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evidence.accuracy import metrics, published
from evidence.accuracy.calibration import Case, calibrate, past_errors
from evidence.accuracy.published import DEFAULT, LEVELS, cases_of, load, part_of, rivals_of
from evidence.accuracy.random_pools import random_subsets
from evidence.cost import cost
from evidence.results import write_numbers
from evidence.study.config import StudyConfig
from evidence.study.curves import own_curves, seed_noise
from evidence.theory.own_bounds import own_bounds
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.selectors import (
    GrowingSlopes,
    GrowingSlopesKernel,
    KernelOnly,
    LensLLMLawSelector,
    NlpMetrics,
    PriorFitted,
    Selector,
)
from lensllm.selectors.error_scale import ErrorScale

RESULT = Path(__file__).with_suffix(".json")
REPORT_RESULT = Path(__file__).with_name("own_report.json")
BUDGETS = (8, 16, 32, 64)
POOLS = 40
POOL_SIZE = 8
SEED = 0
BINS = 10
METRICS = {"pearcorr": metrics.pear_corr, "rel_acc": metrics.rel_acc, "regret": metrics.regret}
PARTS = {
    "log_error": ("common", "own"),
    "brier": ("p_best", "uniform", "softmax"),
    "log_score": ("p_best", "uniform", "softmax"),
}
"""What `calibration` averages over tasks, in the order in which evidence.md shows it."""
SECOND_SETTINGS = ("accept_then_stop_k5_d1.5", "rectified_law_map")
RIVALS = ("growing_slopes", "accept_then_stop", "rectified_law", "sub_tuning")
TIMES = (1, 10, 100, 1000)
"""Training times at which the probes measured F(Theta, t)."""
KERNEL_FEATURES = ("zero_shot_probe_loss", "kernel_32", "pl_alpha")
Key = tuple[str, int, int]
"""Task, budget (1/b of the data may be seen), pool (0 is all candidates)."""


def selectors() -> dict[str, Selector]:
    """Every method compared: those of the published curves, without a second setting of the same method."""
    return {name: selector for name, selector in published.selectors().items() if name not in SECOND_SETTINGS}


def probe_selectors() -> dict[str, Selector]:
    """Those that need the probes of every candidate."""
    return {
        "growing_slopes_kernel": GrowingSlopesKernel(),
        "kernel_only": KernelOnly(),
        "nlp_metrics": NlpMetrics(),
    }


def law_ablation(data: dict[str, Curves]) -> dict[str, dict[str, float]]:
    """The paper's own algorithm, points to fit x threshold to stop, t fitted, and with t known at those measured."""
    ways = {f"gamma={k}, tau={d}": LensLLMLawSelector(k, d) for k in published.POINTS for d in published.THRESHOLDS}
    ways |= {f"gamma=3, tau=5, t={t:g}": LensLLMLawSelector(t=t) for t in TIMES}
    found = {}
    for way, selector in ways.items():
        table = score(forecasts("lensllm_law", selector, data), data)
        means = table[table["pool"] == 0].groupby("task")[list(METRICS)].mean().mean()
        found[way] = {name: float(means[name]) for name in METRICS}
    return found


TOGETHER = (DEFAULT, "growing_slopes", "slope_growth", "growing_slopes_kernel")
"""Methods whose forecast of a candidate depends on the others, so that every pool is forecast by itself."""


def run(
    config: StudyConfig,
    *,
    report: bool = False,
    json_file: str | Path | None = None,
    docs: str | Path | None = None,
) -> dict[str, Any]:
    """Measure every method on the design tasks, or on the report tasks, that are complete.

    A selector sees the sizes up to 1/b of the data and forecasts the loss on all of it. Besides the whole pool, `POOLS`
    random pools of 8 candidates are ranked, because one candidate may lead everywhere. Intervals (90 %) are Student's
    t over tasks. Every search policy is replayed as well (`evidence.cost.cost`), and the bound is summed up.
    `json_file` gets every number, the folder `docs` a section of evidence.md and its figures.

    Raises:
        InputError: if no task is complete.
    """
    data = own_curves(config, config.report_tasks if report else config.design_tasks)
    methods = selectors()
    if all(set(KERNEL_FEATURES) <= set(curves.features) for curves in data.values()):
        methods |= probe_selectors()
    if all({"squared_residual", "remaining_1"} <= set(curves.features) for curves in data.values()):
        methods["lensllm_law"] = LensLLMLawSelector()
    made = {name: forecasts(name, selector, data) for name, selector in methods.items()}
    sure = made[DEFAULT] if report else left_out(data)
    scores = {name: score(found, data) for name, found in made.items()}
    result: dict[str, Any] = {
        "tasks": list(data),
        "seed_noise": {task: seed_noise(config, task) for task in data},
        "split": "report" if report else "design",
        "pools": {"number": POOLS, "size": POOL_SIZE, "seed": SEED},
        "methods": {name: summary(table) for name, table in scores.items()},
        "whole_pool": {name: summary(table[table["pool"] == 0]) for name, table in scores.items()},
        "against": {rival: difference(scores[DEFAULT], scores[rival]) for rival in RIVALS},
        "calibration": calibration(
            sure, made["sub_tuning"], data, temperatures(config, made["sub_tuning"], data, report)
        ),
        "cost": cost.run_own(config, report=report),
        "bound": own_bounds(config, list(data)),
    }
    if not report:
        result["error_scales"] = {
            name: {"sd": scale.sd, "inflation": scale.inflation}
            for name, scale in zip(("common", "own"), error_scales(data), strict=True)
        }
    if "lensllm_law" in scores:
        result["lensllm_law"] = law_ablation(data)
        result["against"]["lensllm_law"] = difference(scores[DEFAULT], scores["lensllm_law"])
    if "growing_slopes_kernel" in scores:
        result["kernel"] = difference(scores["growing_slopes_kernel"], scores["growing_slopes"])
    result = write_numbers(result, json_file)
    if docs is not None:
        from evidence.accuracy.own_page import write

        write(result, made[DEFAULT], data, Path(docs))
    return result


def error_scales(data: dict[str, Curves], without: str = "") -> tuple[ErrorScale, ErrorScale]:
    """Common and own error scale from these tasks and the published ones, all with the same weight.

    With all design tasks they are those of the slopes (`lensllm.selectors.error_scale`); `without` leaves a task out.
    """
    elsewhere, plain = load(), GrowingSlopes()
    rest = {task: curves for task, curves in data.items() if task != without}
    cases = cases_of(elsewhere, plain) + [
        Case(
            task,
            plain.point_forecast(curves.up_to(curves.sizes[-1] / budget), curves.sizes[-1]),
            np.log(curves.losses[:, -1]),
        )
        for task, curves in rest.items()
        for budget in BUDGETS
    ]
    past = {task: past_errors(curves, plain) for task, curves in (elsewhere | rest).items()}
    return calibrate(list(past), past, cases)


def left_out(data: dict[str, Curves]) -> dict[Key, Forecast]:
    """The default's forecasts, each task with error scales from all other tasks."""
    made: dict[Key, Forecast] = {}
    for task, curves in data.items():
        common, own = error_scales(data, without=task)
        made |= forecasts(DEFAULT, PriorFitted(GrowingSlopes(common=common, candidate_error=own)), {task: curves})
    return made


def pools(count: int) -> list[np.ndarray]:
    """All candidates, then `POOLS` random ones of `POOL_SIZE`, as sorted positions."""
    return [np.arange(count), *random_subsets(count, min(POOL_SIZE, count), POOLS, SEED)]


def forecasts(name: str, selector: Selector, data: dict[str, Curves]) -> dict[Key, Forecast]:
    """Forecasts for all tasks, budgets and pools."""
    found = {}
    for task, curves in data.items():
        target = float(curves.sizes[-1])
        for budget in BUDGETS:
            seen = curves.up_to(target / budget)
            whole = selector.forecast(seen, target)
            for pool, rows in enumerate(pools(len(curves.candidates))):
                if pool and name in TOGETHER:
                    found[task, budget, pool] = selector.forecast(
                        seen.of([curves.candidates[row] for row in rows]), target
                    )
                else:
                    found[task, budget, pool] = part_of(whole, rows)
    return found


def _truth(data: dict[str, Curves], key: Key) -> Floats:
    curves = data[key[0]]
    return curves.losses[pools(len(curves.candidates))[key[2]], -1]


def score(made: dict[Key, Forecast], data: dict[str, Curves]) -> pd.DataFrame:
    """One row a task, budget and pool, one column a metric."""
    rows = []
    for key, forecast in made.items():
        truth = _truth(data, key)
        rows.append((*key, *(metric(forecast, truth) for metric in METRICS.values())))
    return pd.DataFrame(rows, columns=["task", "budget", "pool", *METRICS])


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Mean over everything, its 90 % interval of Student's t over tasks, and means by task and by budget."""
    result = {}
    for name in METRICS:
        by_task = table.groupby("task", sort=False)[name].mean()
        result[name] = {
            "mean": float(by_task.mean()),
            "ci": metrics.mean_interval(by_task.to_numpy()),
            "by_task": {task: float(value) for task, value in by_task.items()},
            "by_budget": {f"1/{b}": float(v) for b, v in table.groupby("budget")[name].mean().items()},
        }
    return result


def difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Ours minus theirs, paired: mean, 90 % interval of Student's t over tasks, by task."""
    keys = ["task", "budget", "pool"]
    gap = ours.set_index(keys)[list(METRICS)] - theirs.set_index(keys)[list(METRICS)]
    return summary(gap.reset_index())


def temperatures(
    config: StudyConfig, last: dict[Key, Forecast], data: dict[str, Curves], report: bool
) -> dict[str, float]:
    """Of the softmax of the last losses by task: fitted on the other design tasks, or on all of them for the report."""
    design, known = (last, data)
    if report:
        known = own_curves(config, config.design_tasks)
        design = forecasts("sub_tuning", selectors()["sub_tuning"], known)
    cases = {key: (np.log(made.mean), _truth(known, key)) for key, made in design.items()}
    return {task: metrics.fitted_temperature([case for key, case in cases.items() if key[0] != task]) for task in data}


def calibration(
    ours: dict[Key, Forecast], last: dict[Key, Forecast], data: dict[str, Curves], temperature: dict[str, float]
) -> dict[str, Any]:
    """Coverage and log errors of the losses (whole pool); Brier and log scores of P(best) and rivals (all pools)."""
    by_task = {}
    for task in data:
        keys = [key for key in ours if key[0] == task]
        whole = [key for key in keys if key[2] == 0]
        scores: dict[str, dict[str, list[float]]] = {"brier": {}, "log_score": {}}
        for key in keys:
            truth = _truth(data, key)
            for rival, probabilities in rivals_of(ours[key], last[key], temperature[task]).items():
                scores["brier"].setdefault(rival, []).append(metrics.brier(probabilities, truth))
                scores["log_score"].setdefault(rival, []).append(metrics.log_score(probabilities, truth))
        by_task[task] = {
            "coverage": {
                f"{level:.0%}": float(
                    np.mean([metrics.coverage(ours[key].samples, _truth(data, key), level) for key in whole])
                )
                for level in LEVELS
            },
            "log_error": log_error([np.log(ours[key].mean / _truth(data, key)) for key in whole]),
            **{kind: {rival: float(np.mean(v)) for rival, v in found.items()} for kind, found in scores.items()},
        }
    return {
        "coverage": {
            f"{level:.0%}": {
                "mean": float(np.mean([m["coverage"][f"{level:.0%}"] for m in by_task.values()])),
                "ci": metrics.mean_interval(np.array([m["coverage"][f"{level:.0%}"] for m in by_task.values()])),
            }
            for level in LEVELS
        },
        **{
            kind: {part: float(np.mean([m[kind][part] for m in by_task.values()])) for part in parts}
            for kind, parts in PARTS.items()
        },
        "temperature": temperature,
        "reliability": reliability(ours, data),
        "by_task": by_task,
    }


def log_error(errors: list[Floats]) -> dict[str, float]:
    """Root mean square over budgets of the mean over candidates (common) and of the deviation from it (own)."""
    return {
        "common": float(np.sqrt(np.mean([error.mean() ** 2 for error in errors]))),
        "own": float(np.sqrt(np.mean([error.var() for error in errors]))),
    }


def reliability(made: dict[Key, Forecast], data: dict[str, Curves]) -> list[dict[str, float]]:
    """Bins of equal width of the stated P(best): mean stated, how often that candidate was the best, cases."""
    stated = np.concatenate([forecast.p_best for forecast in made.values()])
    best = np.concatenate([(truth := _truth(data, key)) == truth.min() for key in made])
    place = np.minimum((stated * BINS).astype(int), BINS - 1)
    return [
        {"stated": float(stated[at].mean()), "was_best": float(best[at].mean()), "cases": int(at.sum())}
        for at in (place == b for b in range(BINS))
        if at.any()
    ]
