"""Every forecaster on sets of real curves: choice, P(best), intervals, size of errors; one free parameter a rival."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr

from evidence.accuracy import metrics, own
from evidence.accuracy.published import last_3_slope
from evidence.pages import table as table_of
from evidence.pages import write_section
from evidence.prior.hand_made import hand_made
from evidence.prior.sets import DESIGN, REPORT, Case, cases
from evidence.results import write_numbers
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.selectors import (
    AcceptThenStop,
    GrowingSlopes,
    PriorFitted,
    RectifiedLawSelector,
    Selector,
    SlopeGrowth,
    SubTuning,
    VanillaLawSelector,
)

RESULT = Path(__file__).with_suffix(".json")
COMMAND = "python -m evidence forecasters --docs docs"
LEVEL = 0.9
OURS, BEFORE, LAST, BY_HAND = "prior_fitted", "growing_slopes", "last_loss", "hand-made"
SCORES = ("rel_acc", "pear_corr", "log_score", "brier", "covered", "centred_rmse")
Prediction = tuple[Floats, Floats | None]
"""Log losses at the target, shape (K,), and log samples of them (draws, K), None for a method without any."""


def methods() -> dict[str, Callable[[Curves, float], Prediction]]:
    """Every forecaster compared; those without samples have P(best) = softmax(-log loss / T), T from other sets."""
    return {
        OURS: _asked(PriorFitted()),
        BEFORE: _asked(GrowingSlopes()),
        "network alone": _asked(PriorFitted(own_weight=1.0, common_weight=1.0)),
        "common part half": _asked(PriorFitted(common_weight=0.5)),
        "own part half": _asked(PriorFitted(own_weight=0.5)),
        BY_HAND: hand_made,
        "both together": both_together,
        LAST: _asked(SubTuning()),
        "last slope": lambda seen, target: (last_3_slope(seen, target), None),
        "accept_then_stop": _asked(AcceptThenStop()),
        "slope_growth": _asked(SlopeGrowth()),
        "rectified_law": _asked(RectifiedLawSelector()),
        "vanilla_law": _asked(VanillaLawSelector()),
    }


def run(json_file: str | Path | None = None, docs: str | Path | None = None, report: bool = False) -> dict[str, Any]:
    """Score every forecaster on the design sets, and with `report` on the report sets, at the design sets' T.

    Without `report` what the JSON already says of the report sets is kept.
    """
    design = scored(DESIGN)
    found = temperatures(design)
    made = {"design": summary(design, found)}
    if report:
        everywhere = {name: {source: each["all"] for source in REPORT} for name, each in found.items()}
        made["report"] = summary(scored(REPORT), everywhere)
    elif RESULT.is_file() and "report" in (known := json.loads(RESULT.read_text())):
        made["report"] = known["report"]
    result = write_numbers(made, json_file)
    if docs is not None:
        write_section(Path(docs) / "prior.md", "forecasters", COMMAND, page(result), "The prior")
    return result


def _asked(selector: Selector) -> Callable[[Curves, float], Prediction]:
    def ask(seen: Curves, target: float) -> Prediction:
        made = selector.forecast(seen, target)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(made.mean), np.log(made.samples) if made.errors is not None else None

    return ask


def both_together(seen: Curves, target: float) -> Prediction:
    """The mean of the default and the hand-made one, and the worlds of each: half of the samples."""
    made = PriorFitted().forecast(seen, target)
    mean, samples = hand_made(seen, target)
    return (np.log(made.mean) + mean) / 2, np.concatenate([np.log(made.samples), samples])


def pools(case: Case) -> Iterator[Case]:
    """The whole pool, and random ones on our own tasks."""
    if case.source.startswith("own"):
        yield from map(case.of, own.pools(len(case.truth)))
    else:
        yield case


def scored(sources: tuple[str, ...]) -> pd.DataFrame:
    """A row a forecaster, case and pool; `means` and `truth` are kept for those that have no samples."""
    rows = []
    for source in sources:
        for case in cases(source):
            for pool in pools(case):
                for name, method in methods().items():
                    mean, samples = method(pool.seen, pool.target)
                    rows.append(_row(name, pool, mean, samples))
    return pd.DataFrame(rows)


def _row(name: str, case: Case, mean: Floats, samples: Floats | None) -> dict[str, Any]:
    truth, worst = case.truth, np.where(np.isfinite(mean), mean, np.inf)
    worst = np.where(np.isinf(worst), np.max(worst[np.isfinite(worst)], initial=0.0) + 1, worst)
    chosen = int(np.lexsort((np.array(case.seen.candidates), worst))[0])
    row = {"method": name, "set": case.source, "task": case.task, "part": case.part, "means": worst, "truth": truth}
    row["rel_acc"] = 100 * float((truth.max() - truth[chosen]) / np.ptp(truth))
    row["pear_corr"] = 100 * float(pearsonr(np.exp(worst), truth).statistic) if np.ptp(worst) > 0 else 0.0
    row["centred_rmse"] = float(np.std(worst - np.log(truth)))
    if samples is not None:
        chances = np.bincount(samples.argmin(axis=1), minlength=len(truth)) / len(samples)
        low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        inside = (low <= np.log(truth)) & (np.log(truth) <= high)
        row |= {"covered": 100 * float(inside.mean()), "below": 100 * float((np.log(truth) < low).mean())}
        row |= {"log_score": metrics.log_score(chances, truth), "brier": metrics.brier(chances, truth)}
        row["chances"] = chances
    return row


def half_softmax(rows: pd.DataFrame, last_losses: pd.Series, temperature: float) -> list[Floats]:
    """P(best) of the hand-made model: half from its samples, half from a softmax of those cases' last losses."""
    pairs = zip(rows["chances"], last_losses, strict=True)
    return [(chances + metrics.chances(last, temperature)) / 2 for chances, last in pairs]


def _softmax_score(rows: pd.DataFrame, temperature: float) -> Floats:
    pairs = zip(rows["means"], rows["truth"], strict=True)
    return np.array([metrics.log_score(metrics.chances(means, temperature), truth) for means, truth in pairs])


def temperatures(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """T of each forecaster without samples, for each set the best on all others, each set counted alike."""
    found: dict[str, dict[str, float]] = {}
    for name, rows in table.groupby("method", sort=False):
        if rows["log_score"].notna().all():
            continue
        sets = list(rows["set"].unique())

        def best(used: list[str], rows: pd.DataFrame = rows) -> float:
            def mean(temperature: float) -> float:
                parts = (rows[rows["set"] == source] for source in used)
                return float(np.mean([_by_task(part, _softmax_score(part, temperature)).mean() for part in parts]))

            return metrics.best_temperature(mean)

        found[str(name)] = {s: best([other for other in sets if other != s]) for s in sets} | {"all": best(sets)}
    return found


def _by_task(rows: pd.DataFrame, values: Floats) -> Floats:
    return pd.Series(values, index=rows["task"].to_numpy()).groupby(level=0, sort=False).mean().to_numpy()


def summary(table: pd.DataFrame, temperature: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means by set and forecaster, and ours less others with 90 % intervals of Student's t over tasks and over sets."""
    table = table.copy()
    for (name, source), rows in table.groupby(["method", "set"], sort=False):
        if name == BY_HAND:
            last = table.loc[(table["method"] == LAST) & (table["set"] == source), "means"]
            chances = half_softmax(rows, last, temperature[LAST][str(source)])
        elif name in temperature:
            chances = [metrics.chances(means, temperature[str(name)][str(source)]) for means in rows["means"]]
        else:
            continue
        pairs = list(zip(chances, rows["truth"], strict=True))
        table.loc[rows.index, "log_score"] = [metrics.log_score(p, truth) for p, truth in pairs]
        table.loc[rows.index, "brier"] = [metrics.brier(p, truth) for p, truth in pairs]
    tasks = table.groupby(["method", "set", "task"], sort=False)[[*SCORES, "below"]].mean()
    sets = tasks.groupby(level=[0, 1], sort=False).mean()
    return {
        "cases": {str(s): int(n) for s, n in table[table["method"] == OURS].groupby("set", sort=False).size().items()},
        "temperatures": temperature,
        "means": {
            score: {name: _with_mean(sets.loc[name, score]) for name in sets.index.unique(0)} for score in SCORES
        },
        "below": {name: _with_mean(sets.loc[name, "below"]) for name in sets.index.unique(0)},
        "least_covered": _least_covered(table),
        "missed": _missed(table),
        "against": {name: _against(tasks, name) for name in sets.index.unique(0) if name != OURS},
    }


def _with_mean(values: pd.Series) -> dict[str, float]:
    return {**{str(s): float(v) for s, v in values.items()}, "mean": float(values.mean())}


def _least_covered(table: pd.DataFrame) -> dict[str, Any]:
    """The task and part of the data of our own sets whose intervals hold the fewest truths, of the whole pool."""
    mine = table[(table["method"] == OURS) & table["set"].str.startswith("own")]
    if mine.empty:
        return {}
    whole = mine.groupby(["task", "part"], sort=False)["covered"].first()
    task, part = whole.idxmin()
    return {"task": str(task), "part": int(part), "covered": float(whole.min())}


def _missed(table: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """Truths below and above the default's intervals, in percent: by set, by 1 / part of the data; means over tasks."""
    mine = table[table["method"] == OURS].assign(
        above=lambda rows: (100 - rows["covered"] - rows["below"]).clip(lower=0)
    )
    tasks = mine.groupby(["set", "part", "task"], sort=False)[["below", "above"]].mean()
    means = tasks.groupby(level=[0, 1], sort=False).mean()
    return {
        str(source): {
            str(int(part)): [float(low), float(high)]
            for (_, part), (low, high) in zip(rows.index, rows.to_numpy(), strict=True)
        }
        for source, rows in means.groupby(level=0, sort=False)
    }


def _against(tasks: pd.DataFrame, name: str) -> dict[str, Any]:
    """Ours less another: by set over its tasks, and over the means of sets; how many tasks are better and worse."""
    gaps = (tasks.loc[OURS] - tasks.loc[name])[["rel_acc", "log_score", "brier", "centred_rmse"]]
    found: dict[str, Any] = {}
    for score in gaps:
        by_set = gaps[score].groupby(level=0, sort=False)
        found[score] = {str(source): interval(values.to_numpy()) for source, values in by_set}
        found[score]["sets"] = interval(by_set.mean().to_numpy())
    return found


def interval(values: Floats) -> dict[str, Any]:
    """Mean, 90 % interval of Student's t, and how many are above and below 0."""
    signs = {"above": int((values > 1e-12).sum()), "below": int((values < -1e-12).sum()), "of": len(values)}
    known = metrics.mean_interval(values) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "interval": known, **signs}


TITLES = {
    "rel_acc": ("RelAcc", 1),
    "log_score": ("log score of P(best), lower is better", 3),
    "brier": ("Brier score of P(best), lower is better", 3),
    "covered": ("truths in 90 % intervals, %", 0),
    "centred_rmse": ("centred log RMSE", 3),
    "pear_corr": ("PearCorr", 1),
}


def page(result: dict[str, Any]) -> str:
    """What docs/prior.md shows."""
    parts = []
    for half, found in result.items():
        sets = list(found["cases"])
        cases = ", ".join(f"{name} {n}" for name, n in found["cases"].items())
        parts.append(f"### The {half} sets\n\nCases: {cases}.")
        for score, (title, digits) in TITLES.items():
            rows = []
            for name, of in found["means"][score].items():
                cells = [of[s] for s in (*sets, "mean")]
                if any(value is not None for value in cells):
                    rows.append([name, *("" if value is None else f"{value:.{digits}f}" for value in cells)])
            parts += [f"{title[0].upper()}{title[1:]}:", table_of(["forecaster", *sets, "mean of sets"], rows)]
        parts += [
            f"`{OURS}` less others: mean over sets, 90 % interval of Student's t over sets, sets where it is higher / "
            "lower; then the sets in which the interval over tasks leaves out 0:",
            table_of(
                ["less", "RelAcc", "log score", "Brier", "surely apart in log score"],
                [_less(name, of) for name, of in found["against"].items()],
            ),
        ]
        seen = sorted({int(part) for of in found["missed"].values() for part in of})
        parts += [
            f"Truths below / above the 90 % intervals of `{OURS}`, %, by part of the data seen (perfect is 5 / 5):",
            table_of(
                ["set", *(f"1/{part}" for part in seen)],
                [[name, *(_below_above(of.get(str(part))) for part in seen)] for name, of in found["missed"].items()],
            ),
        ]
        if found["least_covered"]:
            least = found["least_covered"]
            parts.append(
                f"The fewest truths in the intervals of a whole pool of ours: {least['covered']:.0f} %, "
                f"`{least['task']}` seen up to 1/{least['part']}."
            )
    return "\n\n".join(parts)


def _below_above(missed: list[float] | None) -> str:
    return "" if missed is None else " / ".join(f"{max(part, 0.0):.0f}" for part in missed)


def _less(name: str, of: dict[str, Any]) -> list[str]:
    cells = [name]
    for score, digits in (("rel_acc", 2), ("log_score", 3), ("brier", 3)):
        sets = of[score]["sets"]
        low, high = sets["interval"] or (sets["mean"], sets["mean"])
        where = f", {sets['above']} / {sets['below']}" if sets["of"] > 1 else ""
        cells.append(f"{sets['mean']:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f}){where}")
    apart = {
        source: found["mean"]
        for source, found in of["log_score"].items()
        if source != "sets" and found["interval"] and np.prod(found["interval"]) > 0
    }
    return [*cells, ", ".join(f"{source} {mean:+.2f}" for source, mean in apart.items())]
