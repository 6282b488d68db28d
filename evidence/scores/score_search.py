"""Searches that go by a score, replayed on design tasks: do the constants of the rule suit it?

Fine-tuning everything on all the data costs 1. A run of the second study costs the FLOPs it took, scoring included; one
of the public curves its number of examples, every rung trained anew. What is lost are points of the score: the best
one's at the largest size less that of the choice, in hundredths of the range. Scores are those of a few hundred
answers, so the best at the end is partly the luckiest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evidence.accuracy.metrics import mean_interval
from evidence.accuracy.random_pools import random_subsets
from evidence.cost.cost import first_or_last, last_within
from evidence.pages import table, write_section
from evidence.results import write_numbers
from evidence.scores.pools import CURVES, FLOORS, half
from evidence.second_study.config import SecondStudy, task_name
from evidence.second_study.curves import measured
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.objectives import Between, ScoreObjective
from lensllm.scores import score_named
from lensllm.search.policy import Policy, State
from lensllm.search.regret import ExpectedRegret
from lensllm.search.replay import replay
from lensllm.search.successive_halving import SuccessiveHalving
from lensllm.selectors import GaussianProcess, ScoresBesideLosses

RESULT = Path(__file__).with_suffix(".json")
COMMAND = "python -m evidence score-search --docs docs"
MODELS, SUBSETS, SEED = 8, 8, 0
DOUBLINGS = {"peft": (1_000, 2_000, 5_000, 10_000, 20_000)}
"""Of a set whose checkpoints are evenly spaced: those that are about a doubling apart."""
P_BESTS = (0.7, 0.8, 0.9, 0.95)
REGRETS = (0.02, 0.01, 0.005, 0.001)
"""Expected points lost, as parts of the range; the last is the default of `--stop-regret`."""
BUDGETS = (0.1, 0.2, 0.3, 0.5)
STARTS = (2, 4)
NO_CHANCES = (1e-2, 1e-4)
MISLEADS = (0.5, 0.95)
ALONE = "by the score alone"
SHIPPED = "by the score, as shipped"
BY_LOSS = "by the loss"


@dataclass(frozen=True)
class Case:
    """A pool of candidates that is searched.

    Attributes:
        odds: of falling short of the ceiling, what the search forecasts.
        costs: of every run, shape (K, R); those of the largest size add up to 1.
        final: scores at the largest size, as parts of the range, shape (K,).
        losses: of the same runs; None where none are known.
    """

    odds: Curves
    costs: Floats
    final: Floats
    losses: Curves | None


@dataclass(frozen=True)
class Searched:
    """The pools of one task and score."""

    name: str
    objective: Between
    cases: list[Case]


class Starting(ExpectedRegret):
    """The search with another number of first rungs."""

    def __init__(self, start: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.start = start

    def start_rungs(self, state: State) -> int:
        """So many."""
        return min(self.start, state.rungs.size)


def policies(objective: Between) -> dict[str, Callable[[], Policy]]:
    """The search by the score with other constants; those of the rule by the scores alone, which is quick."""
    by_score: dict[str, Any] = {"p_best": 1.0, "objective": objective, "selector": ScoresBesideLosses()}
    made: dict[str, Callable[[], Policy]] = {SHIPPED: lambda: ExpectedRegret(**by_score)}
    for misleads in MISLEADS:
        other = ScoresBesideLosses(misleads=misleads)
        label = f"losses mislead with {misleads:g}"
        made[label] = lambda other=other: ExpectedRegret(**by_score | {"selector": other})  # type: ignore[misc]
    alone = by_score | {"selector": GaussianProcess()}
    made[ALONE] = lambda: ExpectedRegret(**alone)
    for start in STARTS:
        made[f"{ALONE}, {start} first rungs"] = lambda start=start: Starting(start, **alone)  # type: ignore[misc]
    for chance in NO_CHANCES:
        label = f"{ALONE}, dropped below 1 in {1 / chance:,.0f}"
        made[label] = lambda chance=chance: ExpectedRegret(**alone, no_chance=chance)  # type: ignore[misc]
    return made


def searched(study: SecondStudy, subsets: int) -> Iterator[Searched]:
    """The design tasks: of the second study, of the first, and the halves for design of two public sets."""
    names = {task_name(source): scores for source, scores in study.design_tasks.items()}
    try:
        complete = measured(study)
    except InputError:
        complete = []
    for task in complete:
        tuned = task.curves.sizes > 0
        losses = Curves(task.curves.candidates, task.curves.sizes[tuned], task.curves.losses[:, tuned])
        for score in map(score_named, names[task.name]):
            values, errors = (part[:, tuned] for part in task.scores(score.name))
            objective = ScoreObjective(score)
            whole = _case(objective, losses, values, errors, task.costs, losses)
            yield Searched(f"second study: {task.name}, {score.name}", objective, _pools(whole, subsets))
    for source in ("own", "peft", "setfit"):
        rows = half(source, pd.read_csv(CURVES / f"{source}.csv"), report=False)
        for task, mine in rows.groupby("task"):
            of_set = Between(str(task), floor=FLOORS.get(str(task), 0.0))
            cases = [_published(of_set, source, of) for _, of in mine.groupby("seed")]
            few = cases if len(cases) > 1 else _pools(cases[0], subsets)
            yield Searched(f"{source}: {task}", of_set, few)


def _published(objective: Between, source: str, rows: pd.DataFrame) -> Case:
    rows = rows[rows["examples"].isin(DOUBLINGS.get(source, rows["examples"])) & (rows["examples"] > 0)]
    wide = {
        name: rows.pivot_table(index="candidate", columns="examples", values=name)
        for name in ("score", "standard_error", "loss")
        if name in rows and rows[name].notna().any()
    }
    whole = wide["score"].dropna()
    sizes = whole.columns.to_numpy(float)
    values = whole.to_numpy(float)
    errors = wide["standard_error"].loc[whole.index].to_numpy(float) if "standard_error" in wide else values * np.nan
    losses = (
        Curves(tuple(whole.index), sizes, wide["loss"].loc[whole.index].to_numpy(float)) if "loss" in wide else None
    )
    curves = Curves(tuple(whole.index), sizes, values)
    return _case(objective, curves, values, errors, np.broadcast_to(sizes, values.shape), losses)


def _case(
    objective: Between, curves: Curves, values: Floats, errors: Floats, costs: Floats, losses: Curves | None
) -> Case:
    odds, deviations = objective.to_loss(values, errors)
    final = (values[:, -1] - objective.floor) / (objective.ceiling - objective.floor)
    of = Curves(curves.candidates, curves.sizes, odds, standard_errors=deviations, beside=losses)
    return Case(of, costs / costs[:, -1].sum(), final, losses)


def _pools(whole: Case, subsets: int) -> list[Case]:
    count = len(whole.odds.candidates)
    if count <= MODELS:
        return [whole]
    made = []
    for rows in random_subsets(count, MODELS, subsets, SEED):
        names = [whole.odds.candidates[row] for row in rows]
        costs = whole.costs[rows] / whole.costs[rows, -1].sum()
        losses = None if whole.losses is None else whole.losses.of(names)
        made.append(Case(whole.odds.of(names), costs, whole.final[rows], losses))
    return made


def walked(policy: Policy, curves: Curves, case: Case) -> Floats:
    """Every decision with a choice: what was spent, P(best), expected regret, points lost; shape (decisions, 4)."""
    rows = []
    for step in replay(policy, curves, case.costs):
        if step.decision.choice:
            lost = 100 * (case.final.max() - case.final[curves.candidates.index(step.decision.choice)])
            rows.append((step.spent, step.decision.p_best, step.decision.expected_regret, lost))
    return np.array(rows)


def at_dials(walks: list[Floats]) -> dict[str, list[float]]:
    """Mean cost and mean points lost where P(best), the expected regret or the budget ends the search."""
    found = {}
    for p in P_BESTS:
        found[f"P(best) {p:g}"] = _mean([walk[first_or_last(walk[:, 1] >= p)] for walk in walks])
    for regret in REGRETS:
        found[f"regret {regret:g}"] = _mean([walk[first_or_last(walk[:, 2] <= regret)] for walk in walks])
    for budget in BUDGETS:
        found[f"budget {budget:g}"] = _mean([walk[last_within(walk[:, 0], budget)] for walk in walks])
    return found


def _mean(ends: list[Floats]) -> list[float]:
    return [float(np.mean([end[0] for end in ends])), float(np.mean([end[3] for end in ends]))]


def of_task(task: Searched) -> dict[str, Any]:
    """Every search of its pools."""
    searches = {
        label: at_dials([walked(make(), case.odds, case) for case in task.cases])
        for label, make in policies(task.objective).items()
    }
    if all(case.losses is not None for case in task.cases):
        walks = [
            walked(ExpectedRegret(p_best=1.0), case.losses, case) for case in task.cases if case.losses is not None
        ]
        searches[BY_LOSS] = at_dials(walks)
    sizes = task.cases[0].odds.sizes
    halving = {
        f"{start} rungs first": _mean(
            [walked(SuccessiveHalving(start, 0.5), case.odds, case)[-1] for case in task.cases]
        )
        for start in range(2, sizes.size)
    }
    spread = np.mean([case.final.max() - np.median(case.final) for case in task.cases])
    return {
        "task": task.name,
        "candidates": len(task.cases[0].odds.candidates),
        "pools": len(task.cases),
        "sizes": [int(size) for size in sizes],
        "best_over_median": 100 * float(spread),
        "searches": searches,
        "halving": halving,
    }


def run(
    study: SecondStudy, json_file: str | Path | None = None, docs: str | Path | None = None, subsets: int = SUBSETS
) -> dict[str, Any]:
    """Every design task and score; write the JSON and, into a folder `docs`, the section of scores.md."""
    found = [of_task(task) for task in searched(study, subsets)]
    result = write_numbers({"seed": SEED, "tasks": found, "against": against(found)}, json_file)
    if docs is not None:
        write_section(Path(docs) / "scores.md", "score-search", COMMAND, page(result), "Scores")
    return result


def against(found: list[dict[str, Any]]) -> dict[str, Any]:
    """By how much others cost more and lose more than the search as shipped, at the same threshold, over tasks."""
    made: dict[str, Any] = {}
    for label in dict.fromkeys(label for of in found for label in of["searches"] if label != SHIPPED):
        mine = [of["searches"] for of in found if label in of["searches"]]
        dials = [dial for dial in found[0]["searches"][SHIPPED] if not dial.startswith("budget")]
        gaps = np.array([[np.subtract(of[label][dial], of[SHIPPED][dial]) for dial in dials] for of in mine])
        budgets = [dial for dial in found[0]["searches"][SHIPPED] if dial.startswith("budget")]
        within = np.array([[of[label][dial][1] - of[SHIPPED][dial][1] for dial in budgets] for of in mine])
        by_task = {"cost": gaps[:, :, 0].mean(axis=1), "points": gaps[:, :, 1].mean(axis=1)}
        by_task["points_within_budgets"] = within.mean(axis=1)
        made[label] = {"tasks": len(mine)}
        for name, values in by_task.items():
            made[label] |= {name: float(values.mean())}
            made[label] |= {f"{name}_interval": mean_interval(values) if len(mine) > 1 else None}
    return made


def page(result: dict[str, Any]) -> str:
    """What docs/scores.md shows."""
    parts = ["Compute in parts of fine-tuning everything / points of the score lost against the best of the pool."]
    for of in result["tasks"]:
        dials = list(of["searches"][SHIPPED])
        head = [f"{of['task']}, {of['pools']} pools of {of['candidates']}, {len(of['sizes'])} sizes", *dials]
        rows = [[label, *(_cell(at[dial]) for dial in dials)] for label, at in of["searches"].items()]
        halving = ", ".join(f"{_cell(at)} ({start})" for start, at in of["halving"].items())
        apart = f"The best of a pool is {of['best_over_median']:.1f} points above its median one."
        parts += [table(head, rows), f"Halving on the last score: {halving}. {apart}"]
    gaps = [
        [
            label,
            str(one["tasks"]),
            *(_gap(one, what, 3 if what == "cost" else 2) for what in ("cost", "points", "points_within_budgets")),
        ]
        for label, one in result["against"].items()
    ]
    parts += [
        f"Less `{SHIPPED}`, means over thresholds of P(best) and of the expected regret, then over tasks; the last "
        "column over the budgets in the place of the thresholds; in brackets 90 % intervals of Student's t over tasks:",
        table(["search", "tasks", "more compute", "more points lost", "more points lost within a budget"], gaps),
    ]
    return "\n\n".join(parts)


def _cell(at: list[float]) -> str:
    return f"{at[0]:.2f} / {at[1]:.1f}"


def _gap(one: dict[str, Any], what: str, digits: int) -> str:
    said = f"{one[what]:+.{digits}f}"
    known = one[f"{what}_interval"]
    return said if known is None else f"{said} ({known[0]:+.{digits}f} to {known[1]:+.{digits}f})"
