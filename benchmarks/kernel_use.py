"""What the kernel knows of measured losses: every selector with it and without it, on the study's tasks.

    python benchmarks/kernel_use.py            # the design tasks that are whole
    python benchmarks/kernel_use.py --report   # the report tasks too, once

Reads the two tables that benchmarks/study/study.yaml names (losses by fine-tuning and probes) and trains nothing.
Forecast is the loss at the largest size from the first 0, 1, 2, 3 and 4 rungs (50, 100, 200, 400 examples); what is
learned over tasks is learned on the other design tasks. Differences are paired: both selectors on the same task,
rungs and pool; their 95 % interval is from resampling tasks and, within a task, candidates. Writes
benchmarks/results/kernel_use.json and the tables of docs/kernel.md.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, rankdata, spearmanr

from lensllm.arrays import Floats
from lensllm.benchmark.own_curves import own_curves
from lensllm.benchmark.study import StudyConfig
from lensllm.curves import Curves
from lensllm.laws import LensLLMLaw, Prior
from lensllm.probes.measure import TIMES
from lensllm.selectors import (
    GrowingSlopes,
    GrowingSlopesKernel,
    KernelOnly,
    KernelPrior,
    LogMe,
    ModelSize,
    NlpMetrics,
    RectifiedLawSelector,
    Selector,
    SubTuning,
    ZeroShot,
)
from lensllm.selectors.kernel_prior import FEATURES as RELATED
from lensllm.selectors.kernel_prior import Relation, learn
from lensllm.selectors.rectified_law import LawSelector

HERE = Path(__file__).parent
RESULT, DOCUMENT = HERE / "results" / "kernel_use.json", HERE.parent / "docs" / "kernel.md"
BEGIN, END = "<!-- kernel_use: written by benchmarks/kernel_use.py -->", "<!-- kernel_use: end -->"
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


METHODS: dict[str, tuple[int, Make]] = {
    "default": (1, lambda c, r: GrowingSlopes()),
    "growing_slopes_kernel": (0, lambda c, r: GrowingSlopesKernel()),
    "kernel_prior": (1, lambda c, r: KernelPrior(r)),
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
    return curves.up_to(curves.sizes[rungs])


def scores(forecast: Floats, truth: Floats) -> dict[str, float]:
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
    draws = []
    for _ in range(RESAMPLES):
        parts = []
        for t in random.integers(0, len(pairs), len(pairs)):
            rows = random.integers(0, len(pairs[t][2]), len(pairs[t][2]))
            parts.append(spread(*(values[rows] for values in pairs[t])))
        draws.append(np.nanmean(parts) if np.isfinite(parts).any() else np.nan)
    low, high = np.nanquantile(draws, [0.025, 0.975])
    mean = float(np.mean([spread(*pair) for pair in pairs]))
    return {"spearman": mean, "low": float(low), "high": float(high), "tasks": len(pairs)}


def run(report: bool, runs: Path | None) -> dict:
    study = StudyConfig.read(HERE / "study" / "study.yaml")
    if runs:
        study = study.model_copy(update={"table": str(runs)})
    design = own_curves(study, study.design_tasks)
    tasks = design | (own_curves(study, study.report_tasks) if report else {})
    result: dict = {"tasks": {name: len(curves.candidates) for name, curves in tasks.items()}, "pools": {}}
    relations: dict[str, Relation] = {}
    for task in tasks:
        others = [curves for name, curves in design.items() if name != task]
        if others:
            relations[task] = learn(others)
    result["relation"] = {"features": RELATED} | {
        f"for {task}": {"weights of log F, log beta": r.weights.tolist(), "explained": r.explained.tolist()}
        for task, r in relations.items()
    }
    for pool, pattern in POOLS.items():
        rows, forecasts, truths = [], {}, {}
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
        paired = [
            {"first": first, "second": second, "rungs": rungs, **found}
            for first, second in PAIRS
            for rungs in RUNGS
            if (found := difference(forecasts, truths, first, second, rungs))
        ]
        result["pools"][pool] = {"rows": rows, "paired": paired}
        if not pattern:
            new = {task: made for task, made in forecasts.items() if task not in CHOSE}
            found = {r: difference(new, truths, *PAIRS[0], r) for r in RUNGS}
            result["confirmation"] = [{"rungs": r, **pair} for r, pair in found.items() if pair]
    result["features"] = {task: correlations(curves) for task, curves in tasks.items()}
    result["cost"] = cost(study, tasks)
    return result


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


def markdown(result: dict) -> str:
    """Means over tasks; x / y / z: Spearman, Pearson, RelAcc."""
    named = ", ".join(f"`{task}` ({count} candidates)" for task, count in result["tasks"].items())
    lines = [f"Tasks at hand: {named}. Mean over tasks of Spearman / PearCorr / RelAcc", ""]
    for pool, part in result["pools"].items():
        table = pd.DataFrame(part["rows"])
        if table.empty:
            continue
        lines += [
            "",
            f"Pool: {pool}.",
            "",
            "| selector | " + " | ".join(f"{r} rung{'s' * (r != 1)}" for r in RUNGS) + " |",
        ]
        lines.append("|---" * (len(RUNGS) + 1) + "|")
        for name in METHODS:
            cells = []
            for rungs in RUNGS:
                mine = table[(table["method"] == name) & (table["rungs"] == rungs)]
                if mine.empty or mine["spearman"].isna().all():
                    cells.append("")
                    continue
                cell = " / ".join(f"{mine[metric].mean():.2f}" for metric in METRICS[:3])
                of_8 = mine["rel_acc_of_8"].mean() if "rel_acc_of_8" in mine else np.nan
                cells.append(cell + (f" ({of_8:.2f})" if np.isfinite(of_8) else ""))
            if any(cells):
                lines.append(f"| {name} | " + " | ".join(cells) + " |")
        if "rel_acc_of_8" in table:
            lines += ["", "In brackets: RelAcc averaged over random sub-pools of 8 candidates."]
    lines += ["", "Paired differences of Spearman, all candidates, with 95 % intervals:", ""]
    lines += [
        "| pair | " + " | ".join(f"{r} rung{'s' * (r != 1)}" for r in RUNGS) + " |",
        "|---" * (len(RUNGS) + 1) + "|",
    ]
    paired = {(p["first"], p["second"], p["rungs"]): p for p in result["pools"]["all"]["paired"]}
    for first, second in PAIRS:
        cells = [paired.get((first, second, rungs)) for rungs in RUNGS]
        if any(cells):
            shown = [f"{p['spearman']:+.2f} ({p['low']:+.2f} to {p['high']:+.2f})" if p else "" for p in cells]
            lines.append(f"| {first} - {second} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "Task by task, Spearman of all candidates: default, with the kernel curve, with the learned prior:",
        "",
    ]
    lines += [
        "| task | " + " | ".join(f"{r} rung{'s' * (r != 1)}" for r in RUNGS[1:]) + " |",
        "|---" * len(RUNGS) + "|",
    ]
    found = {(r["task"], r["method"], r["rungs"]): r["spearman"] for r in result["pools"]["all"]["rows"]}
    for task in result["tasks"]:
        cells = [", ".join(f"{found.get((task, name, rungs), np.nan):.2f}" for name in BY_TASK) for rungs in RUNGS[1:]]
        lines.append(f"| `{task}` | " + " | ".join(cells) + " |")
    lines += ["", "Spearman of single features with the loss on 50 examples / on all:", ""]
    lines += ["| task | " + " | ".join(FEATURES) + " |", "|---" * (len(FEATURES) + 1) + "|"]
    for task, found in result["features"].items():
        cells = [" / ".join(f"{value:.2f}" for value in found[name]) if name in found else "" for name in FEATURES]
        lines.append(f"| `{task}` | " + " | ".join(cells) + " |")
    lines += ["", "FLOPs of a probe, as a part of what it precedes (median over candidates):", ""]
    columns = list(next(iter(result["cost"].values())))
    lines += ["| task | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for task, parts in result["cost"].items():
        lines.append(f"| `{task}` | " + " | ".join(f"{parts[column]:.2f}" for column in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="score the report tasks too")
    parser.add_argument("--runs", type=Path, help="table of losses, in place of the study's")
    parser.add_argument("--output", type=Path, help="write the numbers here and leave the document alone")
    given = parser.parse_args()
    result = run(given.report, given.runs)
    print(markdown(result))
    (given.output or RESULT).write_text(json.dumps(result, indent=1) + "\n")
    if given.output:
        return
    text = DOCUMENT.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{markdown(result)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
