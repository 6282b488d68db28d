"""What the kernel knows of measured losses: every selector with it and without it, on the study's tasks.

    python -m evidence kernel-use --docs docs      # the design tasks that are whole
    python -m evidence kernel-use --report         # the report tasks too, once

Reads the two tables that evidence/study/study.yaml names (losses by fine-tuning and probes) and trains nothing.
Forecast is the loss at the largest size from the first 0, 1, 2, 3 and 4 rungs (50, 100, 200, 400 examples); what is
learned over tasks is learned on the other design tasks. Differences are paired: both selectors on the same task,
rungs and pool; their 95 % interval is from resampling tasks and, within a task, candidates. Writes
evidence/kernel/kernel_use.json and, with `--docs`, the tables of docs/kernel.md.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, rankdata, spearmanr

from evidence.kernel.kernel_prior import FEATURES as RELATED
from evidence.kernel.kernel_prior import KernelPrior, Relation, learn
from evidence.pages import table, write_section
from evidence.results import write_numbers
from evidence.study.config import STUDY, StudyConfig
from evidence.study.curves import own_curves
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.laws import LensLLMLaw, Prior
from lensllm.probes.measure import TIMES
from lensllm.selectors import (
    GrowingSlopes,
    GrowingSlopesKernel,
    KernelOnly,
    LogMe,
    ModelSize,
    NlpMetrics,
    RectifiedLawSelector,
    Selector,
    SubTuning,
    ZeroShot,
)
from lensllm.selectors.rectified_law import LawSelector

RESULT = Path(__file__).with_suffix(".json")
COMMAND = "python -m evidence kernel-use --docs docs"
RUNGS, SUBPOOL, SUBPOOLS, RESAMPLES = (0, 1, 2, 3, 4), 8, 40, 2000
POOLS = {
    "all": "",
    "corpus differs (gpt2-0.2m)": r"gpt2-0\.2m-.*",
    "size and architecture differ (mix-5m)": r".*-mix-5m",
}
PAIRS = [
    ("growing_slopes_kernel", "default"),
    ("kernel_prior", "default"),
    ("kernel_prior", "kernel_prior, no relation"),
    ("kernel_only d=32", "zero_shot"),
    ("law (10), t fitted", "law, F free"),
    ("law (10), t = 10", "law, F free"),
    ("law (10), t = 100", "law, F free"),
]
CHOSE = ("define", "sentiment")
"""The tasks on which the points of the kernel curve that growing_slopes_kernel takes were chosen."""
BY_TASK = ("default", "growing_slopes_kernel", "kernel_prior")
FEATURES = (
    "effective_rank",
    "decay",
    "alignment",
    "trace",
    "remaining_10",
    "pl_alpha",
    "e_tpl_lambda",
    "log_me",
    "size",
)
METRICS = ("spearman", "pearson", "rel_acc", "rel_acc_of_8")

Make = Callable[[Curves, Relation | None], Selector]


def law(t: float | None) -> Make:
    """Equation (10) with F as measured; the prior on beta and E is that of the law with F free."""

    def make(curves: Curves, relation: Relation | None) -> Selector:
        start = curves.features["squared_residual"].to_numpy(float)[:, None]
        shares = curves.features[[f"remaining_{t:g}" for t in TIMES]].to_numpy(float)
        f = np.column_stack([start, start * np.minimum.accumulate(shares, axis=1)])
        return LawSelector(LensLLMLaw.measured([0.0, *TIMES], np.maximum(f, 1e-6), t, Prior()))

    return make


def no_relation(curves: Curves, relation: Relation | None) -> Selector:
    """The law from one point on, with the general prior."""
    return KernelPrior(Relation(np.zeros((len(RELATED), 2)), np.full(2, 1e-12)))


def learned(curves: Curves, relation: Relation | None) -> Selector:
    """The prior that the other design tasks teach; `of_pool` leaves it out where there are none."""
    assert relation is not None
    return KernelPrior(relation)


METHODS: dict[str, tuple[int, Make]] = {
    "default": (1, lambda c, r: GrowingSlopes()),
    "growing_slopes_kernel": (0, lambda c, r: GrowingSlopesKernel()),
    "kernel_prior": (1, learned),
    "kernel_prior, no relation": (1, no_relation),
    "law, F free": (1, lambda c, r: RectifiedLawSelector(Prior())),
    "law (10), t fitted": (1, law(None)),
    "law (10), t = 10": (1, law(10.0)),
    "law (10), t = 100": (1, law(100.0)),
    "sub_tuning": (1, lambda c, r: SubTuning()),
    "zero_shot": (0, lambda c, r: ZeroShot()),
    "kernel_only d=8": (0, lambda c, r: KernelOnly(8)),
    "kernel_only d=16": (0, lambda c, r: KernelOnly(16)),
    "kernel_only d=32": (0, lambda c, r: KernelOnly(32)),
    "nlp_metrics": (0, lambda c, r: NlpMetrics()),
    "log_me": (0, lambda c, r: LogMe()),
    "model_size": (0, lambda c, r: ModelSize()),
}
"""Name -> least number of rungs, and how it is made for a task, given what the other design tasks teach."""
MEASURES_NOTHING = {"zero_shot", "kernel_only d=8", "kernel_only d=16", "kernel_only d=32", "nlp_metrics", "log_me",
                    "model_size"}  # fmt: skip


def seen(curves: Curves, rungs: int) -> Curves:
    """What is known after so many rungs."""
    return curves.up_to(curves.sizes[rungs])


def scores(forecast: Floats, truth: Floats) -> dict[str, float]:
    """Spearman, Pearson and RelAcc of a forecast, over the candidates that have one."""
    known = np.isfinite(forecast)
    if known.sum() < 3 or np.ptp(forecast[known]) == 0:
        return dict.fromkeys(METRICS[:3], np.nan)
    chosen = truth[np.where(known, forecast, np.inf).argmin()]
    return {
        "spearman": float(spearmanr(forecast[known], truth[known]).statistic),
        "pearson": float(pearsonr(forecast[known], truth[known]).statistic),
        "rel_acc": float((truth.max() - chosen) / np.ptp(truth)),
    }


def measure(name: str, curves: Curves, relation: Relation | None, rungs: int) -> tuple[dict[str, float], Floats]:
    """Scores on a pool, RelAcc averaged over random sub-pools of 8 where it has more, and the forecast."""
    make, target = METHODS[name][1], float(curves.sizes[-1])
    truth = curves.at(target)

    def forecast(pool: Curves) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            selector = make(pool, relation)
            return selector.forecast(seen(pool, rungs), target).mean

    made = forecast(curves)
    result = scores(made, truth)
    if len(truth) > SUBPOOL:
        random = np.random.default_rng(0)
        parts = []
        for _ in range(SUBPOOLS):
            rows = np.sort(random.choice(len(truth), SUBPOOL, replace=False))
            pool = curves.of([curves.candidates[row] for row in rows]) if name not in MEASURES_NOTHING else None
            parts.append(scores(forecast(pool) if pool else made[rows], truth[rows])["rel_acc"])
        result["rel_acc_of_8"] = float(np.mean(parts))
    return result, made


def difference(forecasts: dict, truths: dict, first: str, second: str, rungs: int) -> dict[str, float] | None:
    """Mean Spearman of one selector minus another's over tasks, with a 95 % interval."""
    pairs = [
        (made[first, rungs], made[second, rungs], truths[task])
        for task, made in forecasts.items()
        if (first, rungs) in made and (second, rungs) in made
    ]
    if not pairs:
        return None

    def spread(a: Floats, b: Floats, truth: Floats) -> float:
        known = np.isfinite(a) & np.isfinite(b)
        ranks = [rankdata(values[known]) for values in (a, b, truth)]
        if known.sum() < 3 or min(np.ptp(r) for r in ranks) == 0:
            return np.nan
        return float(np.corrcoef(ranks[0], ranks[2])[0, 1] - np.corrcoef(ranks[1], ranks[2])[0, 1])

    random = np.random.default_rng(0)
    draws: list[float] = []
    for _ in range(RESAMPLES):
        parts: list[float] = []
        for t in random.integers(0, len(pairs), len(pairs)):
            rows = random.integers(0, len(pairs[t][2]), len(pairs[t][2]))
            parts.append(spread(*(values[rows] for values in pairs[t])))
        draws.append(float(np.nanmean(parts)) if np.isfinite(parts).any() else np.nan)
    low, high = np.nanquantile(draws, [0.025, 0.975])
    mean = float(np.mean([spread(*pair) for pair in pairs]))
    return {"spearman": mean, "low": float(low), "high": float(high), "tasks": len(pairs)}


def measured(report: bool, runs: Path | None) -> dict[str, Any]:
    """Every number: scores and paired differences by pool, relations, correlations of features, and costs."""
    study = StudyConfig.read(STUDY)
    if runs:
        study = study.model_copy(update={"table": str(runs)})
    design = own_curves(study, study.design_tasks)
    tasks = design | (own_curves(study, study.report_tasks) if report else {})
    relations = {task: learn(others) for task in tasks if (others := [c for name, c in design.items() if name != task])}
    result: dict[str, Any] = {"tasks": {name: len(curves.candidates) for name, curves in tasks.items()}, "pools": {}}
    result["relation"] = {"features": RELATED} | {
        f"for {task}": {"weights of log F, log beta": r.weights.tolist(), "explained": r.explained.tolist()}
        for task, r in relations.items()
    }
    for pool, pattern in POOLS.items():
        rows, forecasts, truths = of_pool(tasks, relations, pattern)
        paired = [
            {"first": first, "second": second, "rungs": rungs, **found}
            for first, second in PAIRS
            for rungs in RUNGS
            if (found := difference(forecasts, truths, first, second, rungs))
        ]
        result["pools"][pool] = {"rows": rows, "paired": paired}
        if not pattern:
            new = {task: made for task, made in forecasts.items() if task not in CHOSE}
            confirmed = {r: difference(new, truths, *PAIRS[0], r) for r in RUNGS}
            result["confirmation"] = [{"rungs": r, **pair} for r, pair in confirmed.items() if pair]
    result["features"] = {task: correlations(curves) for task, curves in tasks.items()}
    result["cost"] = cost(study, tasks)
    return result


def of_pool(
    tasks: dict[str, Curves], relations: dict[str, Relation], pattern: str
) -> tuple[list[dict[str, Any]], dict[str, dict[tuple[str, int], Floats]], dict[str, Floats]]:
    """Scores of every selector and number of rungs, a row each, with the forecasts and the truths by task.

    Tasks with fewer than three candidates whose names match the pattern are left out.
    """
    rows: list[dict[str, Any]] = []
    forecasts: dict[str, dict[tuple[str, int], Floats]] = {}
    truths: dict[str, Floats] = {}
    for task, whole in tasks.items():
        names = [name for name in whole.candidates if not pattern or re.fullmatch(pattern, name)]
        if len(names) < 3:
            continue
        curves = whole.of(names)
        truths[task], forecasts[task] = curves.at(curves.sizes[-1]), {}
        for name, (least, _) in METHODS.items():
            if name == "kernel_prior" and task not in relations:
                continue
            for rungs in RUNGS[:1] if name in MEASURES_NOTHING else RUNGS[least:]:
                score, made = measure(name, curves, relations.get(task), rungs)
                rows.append({"task": task, "method": name, "rungs": rungs, **score})
                forecasts[task][name, rungs] = made
    return rows, forecasts, truths


def correlations(curves: Curves) -> dict[str, list[float]]:
    """Spearman correlation of every feature with the loss at the first rung and at the largest size."""
    first = curves.sizes[curves.sizes > 0][0]
    return {
        name: [float(spearmanr(curves.features[name], curves.at(size)).statistic) for size in (first, curves.sizes[-1])]
        for name in FEATURES
        if curves.features[name].notna().all()
    }


def cost(study: StudyConfig, tasks: dict[str, Curves]) -> dict:
    """FLOPs of the probes beside those of the first rungs, medians over candidates."""
    runs, probes = pd.read_csv(study.table), pd.read_csv(study.probes_table)
    found = {}
    for task in tasks:
        mine = runs[(runs["task"] == task) & (runs["seed"] == 0)].pivot_table(
            index="candidate", columns="examples", values="flops"
        )
        probe = probes[probes["task"] == task].set_index("candidate")["flops"]
        ladder = {d: mine[[size for size in mine if size <= d]].sum(axis=1) for d in (50, 100, 200, 400)}
        found[task] = {f"of the ladder to {d}": float((probe / spent).median()) for d, spent in ladder.items()}
        found[task]["of the first rung"] = float((probe / mine[50]).median())
    return found


def markdown(result: dict[str, Any]) -> str:
    """The tables; x / y / z: means over tasks of Spearman, Pearson, RelAcc."""
    named = ", ".join(f"`{task}` ({count} candidates)" for task, count in result["tasks"].items())
    pools = {pool: pd.DataFrame(part["rows"]) for pool, part in result["pools"].items()}
    return "\n\n".join(
        [
            f"Tasks at hand: {named}. Mean over tasks of Spearman / PearCorr / RelAcc",
            *(part for pool, rows in pools.items() if not rows.empty for part in pool_table(pool, rows)),
            "Paired differences of Spearman, all candidates, with 95 % intervals:",
            paired_table(result["pools"]["all"]["paired"]),
            "Task by task, Spearman of all candidates: default, with the kernel curve, with the learned prior:",
            task_table(list(result["tasks"]), result["pools"]["all"]["rows"]),
            "Spearman of single features with the loss on 50 examples / on all:",
            feature_table(result["features"]),
            "FLOPs of a probe, as a part of what it precedes (median over candidates):",
            cost_table(result["cost"]),
        ]
    )


def rungs_head(rungs: Sequence[int]) -> list[str]:
    """Columns by number of rungs."""
    return [f"{r} rung{'s' * (r != 1)}" for r in rungs]


def pool_table(pool: str, scored: pd.DataFrame) -> list[str]:
    """Every selector at every number of rungs, and what the brackets are."""
    rows = []
    for name in METHODS:
        cells = [pool_cell(scored[(scored["method"] == name) & (scored["rungs"] == rungs)]) for rungs in RUNGS]
        if any(cells):
            rows.append([name, *cells])
    parts = [f"Pool: {pool}.", table(["selector", *rungs_head(RUNGS)], rows)]
    if "rel_acc_of_8" in scored:
        parts.append("In brackets: RelAcc averaged over random sub-pools of 8 candidates.")
    return parts


def pool_cell(mine: pd.DataFrame) -> str:
    """Means over tasks; empty where there is none."""
    if mine.empty or mine["spearman"].isna().all():
        return ""
    cell = " / ".join(f"{mine[metric].mean():.2f}" for metric in METRICS[:3])
    of_8 = mine["rel_acc_of_8"].mean() if "rel_acc_of_8" in mine else np.nan
    return cell + (f" ({of_8:.2f})" if np.isfinite(of_8) else "")


def paired_table(paired: list[dict[str, Any]]) -> str:
    """One selector minus another, with its interval."""
    known = {(p["first"], p["second"], p["rungs"]): p for p in paired}
    rows = []
    for first, second in PAIRS:
        cells = [known.get((first, second, rungs)) for rungs in RUNGS]
        if any(cells):
            shown = [f"{p['spearman']:+.2f} ({p['low']:+.2f} to {p['high']:+.2f})" if p else "" for p in cells]
            rows.append([f"{first} - {second}", *shown])
    return table(["pair", *rungs_head(RUNGS)], rows)


def task_table(tasks: list[str], scored: list[dict[str, Any]]) -> str:
    """Spearman of three selectors, task by task."""
    found = {(r["task"], r["method"], r["rungs"]): r["spearman"] for r in scored}
    rows = []
    for task in tasks:
        cells = [", ".join(f"{found.get((task, name, rungs), np.nan):.2f}" for name in BY_TASK) for rungs in RUNGS[1:]]
        rows.append([f"`{task}`", *cells])
    return table(["task", *rungs_head(RUNGS[1:])], rows)


def feature_table(features: dict[str, dict[str, list[float]]]) -> str:
    """Correlations of single features with the losses."""
    rows = []
    for task, found in features.items():
        cells = [" / ".join(f"{value:.2f}" for value in found[name]) if name in found else "" for name in FEATURES]
        rows.append([f"`{task}`", *cells])
    return table(["task", *FEATURES], rows)


def cost_table(costs: dict[str, dict[str, float]]) -> str:
    """FLOPs of a probe over those of what it precedes."""
    columns = list(next(iter(costs.values())))
    rows = [[f"`{task}`", *(f"{parts[column]:.2f}" for column in columns)] for task, parts in costs.items()]
    return table(["task", *columns], rows)


def run(
    *, report: bool = False, runs: Path | None = None, json_file: Path = RESULT, docs: Path | None = None
) -> dict[str, Any]:
    """Measure everything; write the JSON and, into a folder `docs`, the tables of kernel.md.

    Args:
        report: score the report tasks, too.
        runs: table of losses in place of the study's.
        json_file: where the numbers go.
        docs: left alone if None.
    """
    result = measured(report, runs)
    print(markdown(result))
    if docs is not None:
        write_section(docs / "kernel.md", "kernel_use", COMMAND, markdown(result), "The kernel")
    return write_numbers(result, json_file)
