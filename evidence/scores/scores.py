"""How well scores are forecast on public score curves: intervals, choices, ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from evidence.accuracy.metrics import mean_interval
from evidence.results import write_numbers
from evidence.scores.link import linked
from evidence.scores.pools import Pool, pools
from lensllm.arrays import Floats
from lensllm.forecast import Forecast
from lensllm.selectors import (
    AcceptThenStop,
    GaussianProcess,
    GrowingSlopes,
    RectifiedLawSelector,
    ScoresBesideLosses,
    Selector,
)
from lensllm.selectors.gaussian_process import Scales

RESULT = Path(__file__).with_suffix(".json")
LEVEL = 0.9
DEFAULT = "gaussian_process"
LAST = "last_score"
ALIKE = 1e-9
Method = Callable[[Pool], tuple[Floats, Floats | None] | None]


def run(json_file: str | Path | None = None) -> dict[str, Any]:
    """Score every method on both halves; `report` was not looked at before the method was fixed."""
    return write_numbers({"design": measure(False), "report": measure(True)}, json_file)


def measure(report: bool) -> dict[str, Any]:
    """One half: means over tasks, each the mean over its pools, by set and over all sets."""
    every = list(pools(report))
    tables = {name: table_of(method, every) for name, method in methods().items()}
    return {
        "pools": len(every),
        "tasks": sorted({f"{pool.source}/{pool.task}" for pool in every}),
        "methods": {name: summary(table) for name, table in tables.items()},
        "coverage_by_task": by_task(tables[DEFAULT])["covered"].dropna().to_dict(),
        "rel_acc_above": {name: against(tables[DEFAULT], table) for name, table in tables.items() if name != DEFAULT},
    }


def methods() -> dict[str, Method]:
    """Point forecasts of scores and samples of them, where a method has any; None where it cannot be asked."""
    return {
        DEFAULT: by(GaussianProcess()),
        "growing_slopes": by(GrowingSlopes()),
        "accept_then_stop": by(AcceptThenStop()),
        "rectified_law": by(RectifiedLawSelector()),
        "half_from_losses": half_from_losses,
        "scores_beside_losses": lambda pool: by(ScoresBesideLosses())(pool) if pool.losses else None,
        LAST: lambda pool: (pool.last, None),
        "last_loss": lambda pool: (-pool.losses.losses[:, -1], None) if pool.losses else None,
    }


def by(selector: Selector) -> Method:
    """The method of a selector on the odds of falling short."""

    def ask(pool: Pool) -> tuple[Floats, Floats | None]:
        return _in_scores(selector.forecast(pool.odds, pool.target), pool)

    return ask


def half_from_losses(pool: Pool) -> tuple[Floats, Floats | None] | None:
    """The default's mean with that of the link from losses to scores, half and half on the log scale."""
    if pool.losses is None:
        return None
    own = GaussianProcess().forecast(pool.odds, pool.target)
    odds, losses = pool.odds, np.log(pool.losses.losses)
    ahead = np.log(GrowingSlopes().forecast(pool.losses, pool.target).mean)
    errors = np.hypot(odds.standard_errors / odds.losses, Scales().reading)
    link = linked(np.log(odds.losses), errors, losses, ahead[None])[0]
    mixed = np.exp((np.log(own.mean) + link) / 2)
    return _in_scores(replace(own, means=mixed[None]), pool)


def _in_scores(forecast: Forecast, pool: Pool) -> tuple[Floats, Floats | None]:
    samples = pool.objective.from_loss(forecast.samples) if forecast.errors is not None else None
    return pool.objective.from_loss(forecast.mean), samples


def table_of(method: Method, every: list[Pool]) -> pd.DataFrame:
    """A row a pool."""
    rows = []
    for pool in every:
        if (made := method(pool)) is None:
            continue
        mean, samples = made
        truth = pool.truth
        row = {"set": pool.source, "task": pool.task, "rel_acc": rel_acc(mean, truth)}
        row["spearman"] = 100 * float(spearmanr(mean, truth).statistic) if np.ptp(mean) and np.ptp(truth) else np.nan
        row["rmse"] = float(np.sqrt(np.mean((mean - truth) ** 2))) if mean.min() >= pool.objective.floor else np.nan
        if samples is not None:
            row |= judged(samples, truth)
        rows.append(row)
    return pd.DataFrame(rows)


def judged(samples: Floats, truth: Floats) -> dict[str, float]:
    """Share of truths in the 90 % intervals, their width, Brier score of P(best) and of chances that are all alike."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    best = samples == samples.max(axis=1, keepdims=True)
    chance = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    first = (truth == truth.max()) / (truth == truth.max()).sum()
    return {
        "covered": 100 * float(np.mean((low <= truth) & (truth <= high))),
        "width": float(np.mean(high - low)),
        "brier": float(((chance - first) ** 2).sum()),
        "brier_uniform": float(((1 / len(truth) - first) ** 2).sum()),
    }


def rel_acc(mean: Floats, truth: Floats) -> float:
    """(chosen - worst) / (best - worst) in true score, in percent, the mean over equal choices; NaN if all are."""
    if not np.ptp(truth):
        return np.nan
    chosen = mean >= mean.max() - ALIKE
    return 100 * float((truth[chosen].mean() - truth.min()) / np.ptp(truth))


def by_task(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the pools of each task."""
    means = table.groupby(["set", "task"]).mean(numeric_only=True)
    means.index = [f"{source}/{task}" for source, task in means.index]
    return means.reindex(columns=["rel_acc", "spearman", "rmse", "covered", "width", "brier", "brier_uniform"])


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Means over tasks with 90 % intervals of Student's t, in all and by set."""
    tasks = by_task(table)
    groups = {"all": tasks} | {
        str(source): tasks[tasks.index.str.startswith(f"{source}/")] for source in table["set"].unique()
    }
    return {
        name: {
            column: mean_and_interval(group[column].to_numpy(float)) for column in tasks if group[column].notna().any()
        }
        for name, group in groups.items()
    }


def against(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Differences of RelAcc, ours above theirs, over tasks: in all, without proxylm's easy pairs, and by set."""
    mine, other = by_task(ours)["rel_acc"], by_task(theirs)["rel_acc"]
    apart = (mine - other).dropna()
    source = apart.index.str.split("/").str[0]
    groups = {"all": apart, "all but proxylm_nusa": apart[source != "proxylm_nusa"]}
    groups |= {name: apart[source == name] for name in dict.fromkeys(source)}
    return {name: mean_and_interval(group.to_numpy(float)) for name, group in groups.items() if len(group)}


def mean_and_interval(values: Floats) -> dict[str, Any]:
    """Mean, 90 % interval and number of those that are known."""
    known = values[np.isfinite(values)]
    mean, n = float(known.mean()), len(known)
    if n < 2:
        return {"mean": mean, "interval": None, "tasks": n}
    return {"mean": mean, "interval": mean_interval(known), "tasks": n}
