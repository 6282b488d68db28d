"""What a good choice costs: every search policy replayed on curves that are known to the end.

The unit of cost is fine-tuning every candidate once on all the data. A policy has a dial (how far it goes) and a shape
(its other settings); every (shape, dial) is an operating point with a mean cost and a RelAcc a case.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evidence.accuracy.calibration import calibrate, past_errors
from evidence.accuracy.published import TASKS, cases_of, load
from evidence.accuracy.random_pools import random_subsets
from evidence.cost.front import front_share
from evidence.results import write_numbers
from evidence.study.config import StudyConfig
from evidence.study.curves import own_curves, read_runs
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.forecast import Forecast
from lensllm.search.accept_then_stop import AcceptThenStopPolicy
from lensllm.search.asha import Asha
from lensllm.search.full import Full
from lensllm.search.policy import Policy, State
from lensllm.search.regret import ExpectedRegret
from lensllm.search.replay import Step, replay
from lensllm.search.successive_halving import SuccessiveHalving
from lensllm.selectors import AcceptThenStop, GrowingSlopes, PriorFitted, Selector
from lensllm.selectors.base import PointSelector
from lensllm.selectors.fitted_laws import FittedLaws

RESULT = Path(__file__).with_suffix(".json")
SEED = 0
SUBSETS = 100
NESTED_SUBSETS = 15
MODELS = {"published": 20, "own": 8}
REL_ACCS = (95, 97, 99)
CERTAINTIES = (0.7, 0.8, 0.9, 0.95)
PAPER_REL_ACC = 91.0
KEEPS = (0.25, 0.5, 0.75)
REDUCTIONS = (2.0, 4.0)
GAMMAS_AND_TAUS = ((3, 1.0), (3, 5.0), (5, 1.5))
START_PARTS = (0.004,)
REGRETS = np.append(0.0, np.geomspace(1e-4, 0.1, 40))
P_BESTS = 1 - np.append(0.0, np.geomspace(0.005, 0.7, 40))
COSTS = np.geomspace(0.004, 2.2, 75)
ASYNCHRONOUS = 16
STOPS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4)
BINS = np.linspace(0, 1, 11)
PROCESSES = 2
SPENT, REL_ACC, OPTIMUM, FRONT = range(4)
NEARLY_ALL = 99.0
"""Percent of the optimum and of the hypervolume that LAMPS (ICML 2026) asks what it costs."""

Shape = tuple[float, ...]
Outcomes = dict[str, dict[Shape, dict[float, dict[str, Floats]]]]
"""Policy -> shape -> dial -> task -> (cases, 4): what was spent, and in percent the RelAcc of the choice, the least
loss over its loss, and the hypervolume of the front that is handed over (`front_share`)."""


@dataclass(frozen=True)
class Pool:
    """Curves of one task with the cost of every run, and the random subsets of candidates that are the cases."""

    curves: Curves
    costs: Floats
    subsets: list[np.ndarray]

    def case(self, rows: np.ndarray) -> tuple[Curves, Floats, Floats]:
        """Curves and costs of some candidates, and the final losses; fine-tuning all of these costs 1."""
        names = tuple(self.curves.candidates[row] for row in rows)
        curves = Curves(names, self.curves.sizes, self.curves.losses[rows])
        return curves, self.costs[rows] / self.costs[rows, -1].sum(), curves.losses[:, -1]

    def parameters(self, rows: np.ndarray) -> Floats:
        """Sizes of some candidates, shape (rows,)."""
        return self.curves.features["size"].to_numpy(float)[rows]


def published_pools(subsets: int = SUBSETS) -> dict[str, Pool]:
    """The published tasks; a run costs its number of examples, all models alike, and is trained separately."""
    pools = {}
    for task, curves in load().items():
        tuned = Curves(curves.candidates, curves.sizes[1:], curves.losses[:, 1:], curves.features)
        costs = np.broadcast_to(tuned.sizes, tuned.losses.shape)
        pools[task] = Pool(tuned, costs, random_subsets(len(curves.candidates), MODELS["published"], subsets, SEED))
    return pools


def own_pools(study: StudyConfig, tasks: list[str], subsets: int = SUBSETS) -> dict[str, Pool]:
    """Those of these tasks that are complete; a run costs the FLOPs it took, trials and evaluations included.

    The untouched models' evaluation is charged with the first rung; they are no candidates here.
    """
    runs = read_runs(study)
    pools = {}
    for task, curves in own_curves(study, tasks).items():
        mine = runs[(runs["seed"] == 0) & (runs["task"] == task)]
        flops = mine.pivot_table(index="candidate", columns="examples", values="flops").loc[list(curves.candidates)]
        costs = flops.to_numpy(float, copy=True)
        costs[:, 1] += costs[:, 0]
        plain = Curves(curves.candidates, curves.sizes[1:], curves.losses[:, 1:], curves.features)
        few = min(MODELS["own"], len(curves.candidates) - 1)
        pools[task] = Pool(plain, costs[:, 1:], random_subsets(len(curves.candidates), few, subsets, SEED))
    return pools


class Remembered(PointSelector):
    """A selector of single curves that forecasts each curve once."""

    def __init__(self, selector: PointSelector) -> None:
        self.selector = selector
        self._known: dict[tuple[bytes, float], float] = {}

    def point(self, curve: Curves, target_size: float) -> float:
        """The selector's own."""
        losses = curve.losses[0]
        key = (losses[np.isfinite(losses)].tobytes(), target_size)
        if key not in self._known:
            self._known[key] = self.selector.point(curve, target_size)
        return self._known[key]


def rel_acc(losses: Floats, chosen: int) -> float:
    """(worst - chosen) / (worst - best) in percent."""
    return 100 * float((losses.max() - losses[chosen]) / np.ptp(losses))


def fixed_policies(rungs: int) -> dict[str, dict[Shape, dict[float, Policy]]]:
    """Policies with a dial that is set beforehand: the rungs all candidates climb before any is dropped."""
    starts = range(2, rungs + 1)
    slope = Remembered(AcceptThenStop(3, 0.0))
    fits: dict[Shape, PointSelector] = {
        shape: Remembered(AcceptThenStop(int(shape[0]), shape[1])) for shape in GAMMAS_AND_TAUS
    }

    return {
        "full": {(): {float(rungs): Full()}},
        "successive_halving": {(keep,): {float(s): SuccessiveHalving(s, keep) for s in starts} for keep in KEEPS},
        "successive_halving_slope": {
            (keep,): {float(s): SuccessiveHalving(s, keep, slope) for s in starts} for keep in KEEPS
        },
        "asha": {(eta,): {float(s): Asha(s, eta) for s in starts} for eta in REDUCTIONS},
        "accept_then_stop": {
            shape: {float(s): AcceptThenStopPolicy(s, fits[shape]) for s in starts} for shape in GAMMAS_AND_TAUS
        },
    }


def fixed_outcomes(pools: dict[str, Pool]) -> Outcomes:
    """Every operating point of the policies that are set beforehand."""
    rungs = next(iter(pools.values())).costs.shape[1]
    outcomes: Outcomes = {}
    for name, shapes in fixed_policies(rungs).items():
        for shape, dials in shapes.items():
            for dial, policy in dials.items():
                by_task = {task: np.array([_end(policy, pool, rows) for rows in pool.subsets])
                           for task, pool in pools.items()}  # fmt: skip
                outcomes.setdefault(name, {}).setdefault(shape, {})[dial] = by_task
    return outcomes


def _end(policy: Policy, pool: Pool, rows: np.ndarray) -> tuple[float, float, float, float]:
    curves, costs, losses = pool.case(rows)
    count = ASYNCHRONOUS if isinstance(policy, Asha) else len(rows)
    steps = replay(policy, curves, costs, count=count)
    chosen = curves.candidates.index(steps[-1].decision.choice)
    believed = believed_at_last(steps, curves, getattr(policy, "selector", None))
    front = front_share(pool.parameters(rows), believed, losses)
    return steps[-1].spent, rel_acc(losses, chosen), 100 * losses.min() / losses[chosen], front


def believed_at_last(steps: Sequence[Step], curves: Curves, selector: Selector | None) -> Floats:
    """What a policy ends with: the forecasts of what it forecasts with, or each candidate's last loss, shape (K,)."""
    made = [name for step in steps for name in step.decision.runs]
    done = np.array([made.count(name) for name in curves.candidates])
    if selector is None:
        last = np.take_along_axis(curves.losses, np.maximum(done - 1, 0)[:, None], axis=1)[:, 0]
        return np.where(done > 0, last, np.nan)
    seen = np.arange(curves.sizes.size) < done[:, None]
    return selector.forecast(curves.showing(seen), float(curves.sizes[-1])).mean


class Telling(ExpectedRegret):
    """The default policy, which keeps the point forecasts of every decision."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.told: list[dict[str, float]] = []

    def forecast(self, state: State) -> Forecast:
        """The policy's own."""
        made = super().forecast(state)
        self.told.append(dict(zip(made.candidates, made.mean, strict=True)))
        return made


def first_or_last(reached: np.ndarray) -> int:
    """The first decision where this holds, or the last of all."""
    return int(reached.argmax()) if reached.any() else reached.size - 1


def last_within(spent: Floats, budget: float) -> int:
    """The last decision before the budget ends; the first if it does not pay that."""
    return max(int(np.searchsorted(spent, budget, side="right")) - 1, 0)


@dataclass(frozen=True)
class Trace:
    """The decisions of the default policy in one case, all of shape (decisions,); the last has no runs left."""

    spent: Floats
    rel_acc: Floats
    optimum: Floats
    front: Floats
    p_best: Floats
    expected_regret: Floats
    p_close: Floats
    is_best: Floats

    def at(self, reached: np.ndarray) -> int:
        """The first decision where this holds, or the last of all."""
        return first_or_last(reached)

    def within(self, budget: float) -> int:
        """The last decision before the budget ends; the first if it does not pay that."""
        return last_within(self.spent, budget)


def traces(pool: Pool, selector: PriorFitted, start_part: float, subsets: int | None = None) -> list[Trace]:
    """The default policy's decisions to their end; stopping earlier is reading the trace up to there."""
    made = []
    for rows in pool.subsets[:subsets]:
        policy = Telling(p_best=1.0, start_part=start_part, selector=selector)
        curves, costs, losses = pool.case(rows)
        steps = [step for step in replay(policy, curves, costs) if step.decision.choice]
        chosen = [curves.candidates.index(step.decision.choice) for step in steps]
        size = pool.parameters(rows)
        believed = [np.array([told.get(name, np.nan) for name in curves.candidates]) for told in policy.told]
        fronts = [front_share(size, one, losses) for one in believed]
        made.append(
            Trace(
                np.array([step.spent for step in steps]),
                np.array([rel_acc(losses, k) for k in chosen]),
                100 * losses.min() / losses[chosen],
                np.array(fronts),
                np.array([step.decision.p_best for step in steps]),
                np.array([step.decision.expected_regret for step in steps]),
                np.array([step.decision.p_close for step in steps]),
                np.array([losses[k] == losses.min() for k in chosen]),
            )
        )
    return made


Asked = tuple[Pool, PriorFitted, float, int | None]


def traces_of(asked: Sequence[Asked]) -> list[list[Trace]]:
    """`traces` of each, in processes of their own: cases are many and have nothing to do with each other."""
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as processes:
        return list(processes.map(traces, *zip(*asked, strict=True)))


def dialled(by_task: dict[str, list[Trace]]) -> dict[str, dict[float, dict[str, Floats]]]:
    """Outcomes of the default policy by what stops it: expected regret, P(best), budget."""

    def points(what: str, sign: int, limit: float) -> dict[str, Floats]:
        made = {}
        for task, of_task in by_task.items():
            at = [t.within(limit) if sign == 0 else t.at(sign * getattr(t, what) >= sign * limit) for t in of_task]
            made[task] = np.array(
                [(t.spent[i], t.rel_acc[i], t.optimum[i], t.front[i]) for t, i in zip(of_task, at, strict=True)]
            )
        return made

    return {
        "regret": {float(least): points("expected_regret", -1, least) for least in REGRETS},
        "regret_p_close": {float(least): points("p_close", 1, least) for least in P_BESTS},
        "regret_p_best": {float(least): points("p_best", 1, least) for least in P_BESTS},
        "regret_budget": {float(budget): points("spent", 0, budget) for budget in COSTS},
    }


def default_outcomes(by_shape: dict[Shape, dict[str, list[Trace]]]) -> Outcomes:
    """Operating points of the default policy for each shape."""
    outcomes: Outcomes = {}
    for shape, by_task in by_shape.items():
        for name, dials in dialled(by_task).items():
            outcomes.setdefault(name, {})[shape] = dials
    return outcomes


def success(points: dict[str, Floats], tasks: Sequence[str], rungs_done: float) -> float:
    """Part of the cases with a RelAcc of at least `rungs_done`, the mean over tasks."""
    return float(np.mean([np.mean(points[task][:, REL_ACC] >= rungs_done) for task in tasks]))


def spent(points: dict[str, Floats], tasks: Sequence[str]) -> float:
    """Mean cost, over tasks."""
    return float(np.mean([points[task][:, SPENT].mean() for task in tasks]))


Good = Callable[[dict[str, Floats], Sequence[str]], bool]


def cheapest(
    shapes: dict[Shape, dict[float, dict[str, Floats]]], tasks: Sequence[str], good: Good
) -> tuple[float, Shape, float] | None:
    """Cost, shape and dial of the cheapest operating point that is good on these tasks."""
    found = [
        (spent(points, tasks), shape, dial)
        for shape, dials in shapes.items()
        for dial, points in dials.items()
        if good(points, tasks)
    ]
    return min(found) if found else None


def needed(outcomes: Outcomes, chosen_on: dict[str, Outcomes], tasks: list[str], good: Good) -> dict[str, Any]:
    """What each policy needs, chosen in three ways.

    `hindsight`: the cheapest operating point of all. `shape_left_out`: each task with the shape that was cheapest on
    the other tasks, one dial for all, the cheapest that is good. `left_out`: shape and dial from the other tasks, so
    that what is reached is not what was asked for.
    """
    result: dict[str, Any] = {}
    for name, shapes in outcomes.items():
        best = cheapest(shapes, tasks, good)
        row: dict[str, Any] = {
            "hindsight": None if best is None else {"cost": best[0], "shape": best[1], "dial": best[2]}
        }
        others = {
            task: cheapest(chosen_on[task][name], [t for t in tasks if t != task], good) if len(tasks) > 1 else None
            for task in tasks
        }
        row["shape_left_out"] = row["left_out"] = None
        if all(found is not None for found in others.values()):
            shaped = {t: shapes[found[1]] for t, found in others.items() if found}
            dials = [{t: shaped[t][dial][t] for t in tasks} for dial in next(iter(shaped.values()))]
            reached = [spent(points, tasks) for points in dials if good(points, tasks)]
            row["shape_left_out"] = {"cost": min(reached)} if reached else None
            strict = {t: shaped[t][found[2]][t] for t, found in others.items() if found}
            row["left_out"] = {
                "cost": spent(strict, tasks),
                "points": strict,
                "chosen": {t: {"shape": found[1], "dial": found[2]} for t, found in others.items() if found},
            }
        result[name] = row
    return result


def tables(outcomes: Outcomes, chosen_on: dict[str, Outcomes], tasks: list[str]) -> dict[str, Any]:
    """Cost to reach each RelAcc with each certainty, and the paper's mean RelAcc."""
    reach: dict[str, Any] = {}
    for rungs_done in REL_ACCS:
        for certainty in CERTAINTIES:
            rows = needed(
                outcomes,
                chosen_on,
                tasks,
                lambda p, t, a=rungs_done, q=certainty: success(p, t, a) >= q - 1e-9,  # type: ignore[misc]
            )
            for row in rows.values():
                if row["left_out"]:
                    points = row["left_out"].pop("points")
                    row["left_out"]["success"] = success(points, tasks, rungs_done)
                    row["left_out"]["success_by_task"] = {t: success(points, [t], rungs_done) for t in tasks}
            reach[f"{rungs_done}@{certainty:.0%}"] = rows
    means = {"mean_rel_acc_91": (REL_ACC, PAPER_REL_ACC), "optimum_99": (OPTIMUM, NEARLY_ALL)}
    return {"reach": reach} | {
        name: _in_the_mean(outcomes, chosen_on, tasks, what, least)
        for name, (what, least) in (means | {"hypervolume_99": (FRONT, NEARLY_ALL)}).items()
    }


def _in_the_mean(
    outcomes: Outcomes, chosen_on: dict[str, Outcomes], tasks: list[str], what: int, least: float
) -> dict[str, Any]:
    """What each policy needs for a mean of at least that; with settings from the other tasks, the mean it has then."""
    rows = needed(outcomes, chosen_on, tasks, lambda p, t: mean_of(p, t, what) >= least)
    for row in rows.values():
        if row["left_out"]:
            row["left_out"]["mean"] = mean_of(row["left_out"].pop("points"), tasks, what)
    return rows


def mean_of(points: dict[str, Floats], tasks: Sequence[str], what: int) -> float:
    """Mean of a column over cases, then tasks."""
    return float(np.mean([points[task][:, what].mean() for task in tasks]))


def frontiers(outcomes: Outcomes, tasks: list[str]) -> dict[str, list[list[float]]]:
    """Mean cost and 100 - mean RelAcc over each policy's dial, for the shape that is cheapest at RelAcc 97."""
    lines = {}
    for name, shapes in outcomes.items():
        best = cheapest(shapes, tasks, lambda p, t: mean_of(p, t, REL_ACC) >= 97)
        shape = best[1] if best else next(iter(shapes))
        line = [[spent(points, tasks), 100 - mean_of(points, tasks, REL_ACC)] for points in shapes[shape].values()]
        lines[name] = sorted(line)
    return lines


def reliability(by_task: dict[str, list[Trace]]) -> list[dict[str, float]]:
    """Stated P(best) against how often it was, at the stop by each of a range of budgets, in bins of a tenth."""
    format, was = [], []
    for of_task in by_task.values():
        for trace in of_task:
            for budget in STOPS:
                at = trace.within(budget)
                format.append(trace.p_best[at])
                was.append(float(trace.is_best[at]))
    stated, truth = np.array(format), np.array(was)
    which = np.clip(np.digitize(stated, BINS) - 1, 0, BINS.size - 2)
    return [
        {
            "stated": float(stated[which == b].mean()),
            "best": float(truth[which == b].mean()),
            "cases": int((which == b).sum()),
        }
        for b in range(BINS.size - 1)
        if (which == b).any()
    ]


def calibrated_selectors(tasks: Sequence[str]) -> dict[frozenset[str], PriorFitted]:
    """The default selector with error scales from every set of one or two of the published tasks."""
    data = load()
    laws = FittedLaws()
    plain = GrowingSlopes(laws=laws)
    past = {task: past_errors(data[task], plain) for task in tasks}
    cases = cases_of(data, plain)
    sets = {frozenset(t for t in tasks if t not in (a, b)) for a in tasks for b in tasks}
    made = {}
    for known in sets:
        common, own = calibrate(sorted(known), past, [case for case in cases if case.task in known])
        made[known] = PriorFitted(GrowingSlopes(common=common, candidate_error=own, laws=laws))
    return made


def run_published(subsets: int = SUBSETS, nested: int = NESTED_SUBSETS) -> dict[str, Any]:
    """All policies on the published curves; error scales always come from tasks other than the one replayed.

    Where settings are chosen for a task, the replays they are chosen on have error scales without that task, too.
    """
    pools, tasks = published_pools(subsets), list(TASKS)
    selectors = calibrated_selectors(tasks)
    fixed = fixed_outcomes(pools)
    told("fixed policies")
    pairs = [(held, t) for held in tasks for t in tasks if t != held]
    asked: list[Asked] = []
    for part in START_PARTS:
        asked += [(pools[t], selectors[frozenset(tasks) - {t}], part, None) for t in tasks]
        asked += [(pools[t], selectors[frozenset(tasks) - {held, t}], part, nested) for held, t in pairs]
    made = iter(traces_of(asked))
    told("default policy")
    by_shape: dict[Shape, dict[str, list[Trace]]] = {}
    inner: dict[str, dict[Shape, dict[str, list[Trace]]]] = {task: {} for task in tasks}
    for part in START_PARTS:
        by_shape[part,] = {t: next(made) for t in tasks}
        for held, task in pairs:
            inner[held].setdefault((part,), {})[task] = next(made)
    outcomes = fixed | default_outcomes(by_shape)
    chosen_on = {held: fixed | default_outcomes(inner[held]) for held in tasks}
    default = by_shape[START_PARTS[0],]
    return {
        "tasks": tasks,
        "seed": SEED,
        "subsets": subsets,
        "models": MODELS["published"],
        "own_scale": {
            "+".join(sorted(k)): [s.slopes.candidate_error.sd, s.slopes.candidate_error.inflation]
            for k, s in selectors.items()
        },
        **tables(outcomes, chosen_on, tasks),
        "frontiers": frontiers(outcomes, tasks),
        "reliability": reliability(default),
    }


def run_own(study: StudyConfig, *, report: bool, subsets: int = SUBSETS) -> dict[str, Any] | None:
    """All policies on our own curves, settings chosen on the other tasks of our own; None while no task is complete."""
    if not Path(study.table).is_file():
        return None
    try:
        pools = own_pools(study, study.report_tasks if report else study.design_tasks, subsets)
    except InputError:
        return None
    names = list(pools)
    fixed = fixed_outcomes(pools)
    made = iter(traces_of([(pools[t], PriorFitted(), part, None) for part in START_PARTS for t in names]))
    by_shape: dict[Shape, dict[str, list[Trace]]] = {(part,): {t: next(made) for t in names} for part in START_PARTS}
    told("own curves")
    outcomes = fixed | default_outcomes(by_shape)
    return {
        "tasks": names,
        "seed": SEED,
        "subsets": subsets,
        "models": len(next(iter(pools.values())).subsets[0]),
        **tables(outcomes, dict.fromkeys(names, outcomes), names),
        "frontiers": frontiers(outcomes, names),
        "reliability": reliability(by_shape[START_PARTS[0],]),
    }


def told(line: str) -> None:
    """Progress, where somebody sees it."""
    if sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


def run(
    study: StudyConfig, *, report: bool = False, json_file: str | Path | None = None, docs: str | Path | None = None
) -> dict[str, Any]:
    """Measure everything; write the JSON and, into a folder `docs`, its section of the docs and its figures."""
    result = {
        "published": run_published(),
        "own": run_own(study, report=report),
        "own_split": "report" if report else "design",
    }
    result = write_numbers(result, json_file)
    if docs is not None:
        from evidence.cost.cost_page import write

        write(result, Path(docs))
    return result
