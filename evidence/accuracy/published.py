"""The published fine-tuning curves: every selector, task and budget, and all that `docs/evidence.md` says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evidence.accuracy import metrics
from evidence.accuracy.calibration import Case, PastErrors, calibrate, past_errors
from evidence.results import write_numbers
from evidence.speed.law_fits import speed
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.forecast import Forecast
from lensllm.laws import Law, Prior, RectifiedLaw, VanillaLaw
from lensllm.selectors import (
    AcceptThenStop,
    GrowingSlopes,
    ModelSize,
    PriorFitted,
    RectifiedLawSelector,
    Selector,
    SlopeGrowth,
    SubTuning,
    VanillaLawSelector,
    ZeroShot,
)

DEFAULT = PriorFitted.name
RESULT = Path(__file__).with_suffix(".json")
CURVES = Path(__file__).with_name("published_curves")
TASKS = ("flan", "wmt19", "gigaword")
TARGET = 1_638_400
BUDGETS = (8, 16, 32, 64, 128, 256, 512)
LEVELS = (0.5, 0.8, 0.9)
LAW_WEIGHTS = (0.0, 0.1, 0.25, 0.5)
LAG_WEIGHTS = (0.4, 0.5, 0.6, 0.7)
POINTS = (3, 4, 5)
THRESHOLDS = (1, 2, 3, 4, 5)
RESAMPLES = 400
DOUBLINGS = (1, 2, 3, 5, 7, 9)
DOUBLING_TASKS = ("flan", "gigaword")
DOUBLING_MODELS = (
    "opt-350m", "opt-1.3b", "opt-6.7b", "t5-small", "t5-base", "Cerebras-GPT-256M", "Cerebras-GPT-1.3B", "mt5-base",
    "mt5-large", "bart-base", "bart-large", "gpt2", "LaMini-GPT-124M", "LaMini-GPT-774M",
)  # fmt: skip


def load() -> dict[str, Curves]:
    """The curves of 30 models on FLAN, WMT19 and Gigaword (Lin et al. 2024)."""
    return {task: Curves.read_csv(CURVES / f"{task}.csv") for task in TASKS}


def selectors() -> dict[str, Selector]:
    """Every method compared."""
    return {
        DEFAULT: PriorFitted(),
        "growing_slopes": GrowingSlopes(),
        "slope_growth": SlopeGrowth(),
        "accept_then_stop": AcceptThenStop(),
        "accept_then_stop_k5_d1.5": AcceptThenStop(5, 1.5),
        "rectified_law": RectifiedLawSelector(),
        "rectified_law_map": RectifiedLawSelector(Prior()),
        "vanilla_law": VanillaLawSelector(),
        "sub_tuning": SubTuning(),
        "zero_shot": ZeroShot(),
        "model_size": ModelSize(),
    }


def run(json_file: str | Path | None = None, docs: str | Path | None = None) -> dict[str, Any]:
    """Measure everything; write the JSON and, into a folder `docs`, the section of evidence.md and its figures."""
    data = load()
    forecasts = {
        name: {(task, b): selector.forecast(data[task].up_to(TARGET / b), TARGET) for task in TASKS for b in BUDGETS}
        for name, selector in selectors().items()
    }
    truth = {task: data[task].at(TARGET) for task in TASKS}
    scores = {name: score(made, truth) for name, made in forecasts.items()}
    result = {
        "methods": {name: summary(table) for name, table in scores.items()},
        "against_accept_then_stop": against(forecasts[DEFAULT], forecasts["accept_then_stop"], truth),
        "leave_one_task_out": leave_one_task_out(data),
        "law_weights": settings(data),
        "calibration": calibration(data),
        "one_doubling": one_doubling(data),
        "in_sample": in_sample(data),
        "ablation": ablation(data),
        "speed": speed(data["flan"].sizes[1:], np.vstack([data[task].losses[:, 1:] for task in TASKS])),
    }
    result = write_numbers(result, json_file)
    if docs is not None:
        from evidence.accuracy.published_page import write

        write(result, forecasts, truth, Path(docs))
    return result


def score(made: dict[tuple[str, int], Forecast], truth: dict[str, Floats]) -> pd.DataFrame:
    """One row a setting (task, budget), one column a metric."""
    rows = []
    for (task, budget), forecast in made.items():
        row = {"task": task, "budget": budget}
        for name in ("pear_corr", "rel_acc", "spearman", "top_1", "regret", "centred_rmse"):
            row[name] = getattr(metrics, name)(forecast, truth[task])
        rows.append(row)
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Means over all settings, by task and by budget, of every metric."""
    return {
        name.replace("pear_corr", "pearcorr"): {
            "mean": float(table[name].mean()),
            "by_task": {task: float(v) for task, v in table.groupby("task", sort=False)[name].mean().items()},
            "by_budget": {f"1/{b}": float(v) for b, v in table.groupby("budget")[name].mean().items()},
        }
        for name in table.columns[2:]
    }


def against(
    ours: dict[tuple[str, int], Forecast], theirs: dict[tuple[str, int], Forecast], truth: dict[str, Floats]
) -> dict[str, Any]:
    """Settings won, drawn and lost, and a bootstrap over the models of the difference of the means over settings."""
    result: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    models = len(truth[TASKS[0]])
    resamples = [np.unique(rng.integers(0, models, models)) for _ in range(RESAMPLES)]
    for name in ("pear_corr", "rel_acc"):
        metric = getattr(metrics, name)
        difference = np.array([metric(ours[key], truth[key[0]]) - metric(theirs[key], truth[key[0]]) for key in ours])
        drawn = np.abs(difference) < 1e-9

        def gap(rows: np.ndarray, metric: Callable[[Forecast, Floats], float] = metric) -> float:
            mine, other = ([metric(part_of(m[k], rows), truth[k[0]][rows]) for k in ours] for m in (ours, theirs))
            return float(np.mean(mine) - np.mean(other))

        boot = [gap(rows) for rows in resamples]
        result[name.replace("pear_corr", "pearcorr")] = {
            "won": int((~drawn & (difference > 0)).sum()),
            "drawn": int(drawn.sum()),
            "lost": int((~drawn & (difference < 0)).sum()),
            "difference": float(difference.mean()),
            "interval_95": [float(v) for v in np.quantile(boot, [0.025, 0.975])],
        }
    return result


def part_of(forecast: Forecast, rows: np.ndarray) -> Forecast:
    """The forecast of some of the candidates."""
    return forecast.of([forecast.candidates[row] for row in rows])


def leave_one_task_out(data: dict[str, Curves]) -> dict[str, Any]:
    """Settings chosen by the centred log RMSE on the other two tasks, then scored on the third."""
    ours: dict[tuple[float, float], dict[tuple[str, int], Floats]] = {}
    for lag in LAG_WEIGHTS:
        slopes, law = (
            {
                (task, b): np.log(_point(GrowingSlopes(weight, lag), data[task].up_to(TARGET / b)))
                for task in TASKS
                for b in BUDGETS
            }
            for weight in (0.0, 1.0)
        )
        for weight in LAW_WEIGHTS:
            ours[weight, lag] = {key: (1 - weight) * slopes[key] + weight * law[key] for key in slopes}
    ats = {
        (k, delta): {
            (task, b): np.log(AcceptThenStop(k, delta).forecast(data[task].up_to(TARGET / b), TARGET).mean)
            for task in TASKS
            for b in BUDGETS
        }
        for k in POINTS
        for delta in THRESHOLDS
    }
    return {
        "growing_slopes": _left_out(data, ours, ("law_weight", "lag_weight")),
        "accept_then_stop": _left_out(data, ats, ("k", "delta")),
    }


def settings(data: dict[str, Curves], lag_weight: float = 0.6) -> dict[str, Any]:
    """The default selector at other weights of the law: what each half brings."""
    truth = {task: data[task].at(TARGET) for task in TASKS}
    result = {}
    for weight in (*LAW_WEIGHTS, 1.0):
        selector = GrowingSlopes(weight, lag_weight)
        made = {(task, b): _as_forecast(data[task], _point(selector, data[task].up_to(TARGET / b)))
                for task in TASKS for b in BUDGETS}  # fmt: skip
        means = summary(score(made, truth))
        result[f"law_weight={weight}"] = {name: means[name]["mean"] for name in ("pearcorr", "rel_acc", "centred_rmse")}
    return result


def _as_forecast(curves: Curves, mean: Floats) -> Forecast:
    return Forecast(curves.candidates, TARGET, np.array([TARGET]), mean[None])


def _point(selector: GrowingSlopes, curves: Curves) -> Floats:
    return np.exp(selector.point_forecast(curves, TARGET).log_means[0])


def _left_out(
    data: dict[str, Curves], made: dict[Any, dict[tuple[str, int], Floats]], names: tuple[str, str]
) -> dict[str, Any]:
    chosen, held = {}, {}
    for task in TASKS:
        others = [other for other in TASKS if other != task]

        def off(key: Any, others: list[str] = others) -> float:
            return sum(float(np.var(made[key][t, b] - np.log(data[t].at(TARGET)))) for t in others for b in BUDGETS)

        best = min(made, key=off)
        chosen[task] = dict(zip(names, best, strict=True))
        held.update({(task, b): _as_forecast(data[task], np.exp(made[best][task, b])) for b in BUDGETS})
    return {"chosen": chosen, **summary(score(held, {task: data[task].at(TARGET) for task in TASKS}))}


def cases_of(data: dict[str, Curves], selector: GrowingSlopes) -> list[Case]:
    """Every task at every budget: the selector's point forecast and the truth."""
    return [
        Case(task, selector.point_forecast(curves.up_to(TARGET / b), TARGET), np.log(curves.at(TARGET)))
        for task, curves in data.items()
        for b in BUDGETS
    ]


def calibration(data: dict[str, Curves]) -> dict[str, Any]:
    """Interval coverage and the scores of P(best), each task with error scales from the other two."""
    selector = GrowingSlopes()
    past = {task: past_errors(data[task], selector) for task in TASKS}
    cases = cases_of(data, selector)
    fitted = {task: _without(task, past, cases) for task in TASKS}
    by_task = {task: _calibration_of(fitted, task, data) for task in TASKS}
    covered = {f"{level:.0%}": [by_task[task]["coverage"][f"{level:.0%}"] for task in TASKS] for level in LEVELS}
    return {
        "by_task": by_task,
        "coverage": {level: {"mean": float(np.mean(v)), "worst": min(v)} for level, v in covered.items()},
        "by_doublings": by_doublings(data, fitted),
    }


def by_doublings(data: dict[str, Curves], fitted: dict[str, GrowingSlopes]) -> dict[str, dict[str, float]]:
    """Coverage of 90 % intervals by doublings ahead, from every origin with four points or more, by task."""
    held: dict[str, dict[str, list[float]]] = {str(n): {task: [] for task in TASKS} for n in DOUBLINGS}
    for task, selector in fitted.items():
        sizes = data[task].sizes[1:]
        for column in range(3, sizes.size):
            seen = data[task].up_to(sizes[column])
            for n in DOUBLINGS:
                if column + n < sizes.size:
                    samples = np.log(PriorFitted(selector).forecast(seen, sizes[column + n]).samples)
                    truth = np.log(data[task].at(sizes[column + n]))
                    held[str(n)][task].append(metrics.coverage(samples, truth, 0.9))
    return {n: {task: float(np.mean(parts)) for task, parts in by_task.items()} for n, by_task in held.items()}


def _without(task: str, past: dict[str, PastErrors], cases: list[Case]) -> GrowingSlopes:
    """The slopes with error scales from the other tasks."""
    others = [other for other in TASKS if other != task]
    common, own = calibrate(others, past, [case for case in cases if case.task != task])
    return GrowingSlopes(common=common, candidate_error=own)


def _calibration_of(fitted: dict[str, GrowingSlopes], task: str, data: dict[str, Curves]) -> dict[str, Any]:
    truth, selector = data[task].at(TARGET), fitted[task]
    made = [PriorFitted(selector).forecast(data[task].up_to(TARGET / b), TARGET) for b in BUDGETS]
    elsewhere = [
        (np.log(SubTuning().forecast(data[other].up_to(TARGET / b), TARGET).mean), data[other].at(TARGET))
        for other in TASKS
        if other != task
        for b in BUDGETS
    ]
    temperature = metrics.fitted_temperature(elsewhere)
    rivals: dict[str, list[Floats]] = {"p_best": [], "uniform": [], "softmax": []}
    for forecast, b in zip(made, BUDGETS, strict=True):
        last = SubTuning().forecast(data[task].up_to(TARGET / b), TARGET)
        for name, probabilities in rivals_of(forecast, last, temperature).items():
            rivals[name].append(probabilities)
    return {
        "coverage": {
            f"{level:.0%}": float(np.mean([metrics.coverage(f.samples, truth, level) for f in made]))
            for level in LEVELS
        },
        "brier": {name: float(np.mean([metrics.brier(p, truth) for p in ps])) for name, ps in rivals.items()},
        "log_score": {name: float(np.mean([metrics.log_score(p, truth) for p in ps])) for name, ps in rivals.items()},
        "temperature": temperature,
        "inflation": {"common": selector.common.inflation, "own": selector.candidate_error.inflation},
    }


def rivals_of(forecast: Forecast, last: Forecast, temperature: float) -> dict[str, Floats]:
    """P(best) beside what it has to beat: all alike, a softmax of the last losses with a temperature from elsewhere."""
    return {
        "p_best": forecast.p_best,
        "uniform": np.full(len(forecast.candidates), 1 / len(forecast.candidates)),
        "softmax": metrics.chances(np.log(last.mean), temperature),
    }


def one_doubling(data: dict[str, Curves]) -> dict[str, Any]:
    """R2 of forecasts one doubling ahead, over all 90 curves and over the 28 of the paper's 14 models."""
    methods = {name: s for name, s in selectors().items() if name not in ("zero_shot", "model_size", "sub_tuning")}
    result: dict[str, Any] = {}
    for target in (TARGET // 2, TARGET):
        result[str(target)] = {}
        seen = {task: curves.up_to(target / 2) for task, curves in data.items()}
        made = {name: {t: s.forecast(seen[t], target).mean for t in TASKS} for name, s in methods.items()}
        made["last_3_slope"] = {task: np.exp(last_3_slope(seen[task], target)) for task in TASKS}
        for name, by_task in made.items():
            every = [(by_task[t], data[t].at(target)) for t in TASKS]
            few = [
                (by_task[t][rows], data[t].at(target)[rows]) for t in DOUBLING_TASKS if (rows := _named(data[t])).size
            ]
            result[str(target)][name] = {
                "r2_90": metrics.r2(*(np.concatenate(part) for part in zip(*every, strict=True))),
                "r2_28": metrics.r2(*(np.concatenate(part) for part in zip(*few, strict=True))),
            }
    return result


def _named(curves: Curves) -> np.ndarray:
    return np.flatnonzero([name.split("/")[-1] in DOUBLING_MODELS for name in curves.candidates])


def last_3_slope(curves: Curves, target: float) -> Floats:
    """The log-log slope of each candidate's last three points, extended from the last; log losses, shape (K,)."""
    ends = []
    for losses in np.log(curves.losses):
        known = np.isfinite(losses) & (curves.sizes > 0)
        x, y = np.log2(curves.sizes[known])[-3:], losses[known][-3:]
        slope = np.polyfit(x, y, 1)[0] if len(x) > 1 else 0.0
        ends.append(y[-1] + slope * (np.log2(target) - x[-1]))
    return np.array(ends)


def in_sample(data: dict[str, Curves]) -> dict[str, Any]:
    """Mean log-RMSE and R2 of each law over the 14 fine-tuned points of all 90 curves."""
    sizes = data[TASKS[0]].sizes[1:]
    losses = np.vstack([data[task].losses[:, 1:] for task in TASKS])
    laws: dict[str, Law] = {
        "vanilla": VanillaLaw(),
        "rectified": RectifiedLaw(),
        "rectified_map": RectifiedLaw(prior=Prior()),
    }
    result = {}
    for name, law in laws.items():
        law.fit(sizes, losses)
        result[name] = {"log_rmse": float(law.log_rmse_.mean()), "r2": metrics.r2(law.predict(sizes), losses)}
    return result


def ablation(data: dict[str, Curves]) -> dict[str, Any]:
    """Points to fit x stopping threshold of Accept-then-Stop: both metrics of every task and budget."""
    result: dict[str, Any] = {}
    for k in POINTS:
        for delta in THRESHOLDS:
            made = {
                (task, b): AcceptThenStop(k, delta).forecast(data[task].up_to(TARGET / b), TARGET)
                for task in TASKS
                for b in BUDGETS
            }
            table = score(made, {task: data[task].at(TARGET) for task in TASKS})
            result[f"gamma={k},tau={delta}"] = {
                "pearcorr": float(table["pear_corr"].mean()),
                "rel_acc": float(table["rel_acc"].mean()),
                "settings": {
                    f"{row.task} 1/{row.budget}": [round(row.pear_corr, 2), round(row.rel_acc, 2)]
                    for row in table.itertuples()
                },
            }
    return result
