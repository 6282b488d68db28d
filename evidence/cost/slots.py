"""Wall-clock to a choice with several slots: a decision after every result, against rounds that wait for the slowest.

    python -m evidence slots

Curves known to the end are searched by the default policy within a tenth of fine-tuning everything. A candidate's runs
cost its examples times a factor drawn between 1 and 100 on a log scale, and take as long, so that runs of one rung
differ a hundredfold. The published tasks, 8 random pools of 13 candidates each, with 1, 4 and 16 slots. Writes
evidence/cost/slots.json: for each number of slots and both ways the medians, and paired ratios where both chose alike.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evidence.accuracy.published import load
from evidence.accuracy.random_pools import random_subsets
from evidence.results import write_numbers
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.search.policy import Decision, Policy, State
from lensllm.search.regret import ExpectedRegret

RESULT = Path(__file__).with_suffix(".json")
SLOTS = (1, 4, 16)
POOLS = 8
POOL_SIZE = 13
BUDGET = 0.1
FASTEST_TO_SLOWEST = 100.0
SEED = 0


@dataclass(frozen=True)
class Searched:
    """How a simulated search went.

    Attributes:
        choice: the candidate chosen.
        seconds: wall-clock to its end.
        decided: wall-clock from which on the choice was the same.
        spent: cost of all runs.
        busy: part of the slots' time in which something ran.
        decisions: how many were taken.
    """

    choice: str
    seconds: float
    decided: float
    spent: float
    busy: float
    decisions: int


class Simulation:
    """One search in simulated time, each run revealed when it ends.

    Args:
        policy: decides.
        curves: losses of all candidates at all rungs.
        costs: of every run, which is also its time, shape (K, R).
        slots: runs at a time.
        rounds: decide only when every run of the decision before has ended.
    """

    def __init__(self, policy: Policy, curves: Curves, costs: Floats, slots: int, rounds: bool) -> None:
        self.policy, self.curves, self.costs, self.slots, self.rounds = policy, curves, costs, slots, rounds
        self.tuned = curves.sizes > 0
        self.rungs_done = np.zeros(len(curves.candidates), dtype=int)
        self.running: list[tuple[float, int]] = []
        self.now = self.spent = self.decided = 0.0
        self.choice = ""
        self.decisions = 0

    def run(self) -> Searched:
        """Carry the search through."""
        while True:
            while len(self.running) < self.slots and not (self.rounds and self.running):
                decision = self._decide(self.slots - len(self.running))
                for name in decision.runs:
                    row = self.curves.candidates.index(name)
                    heapq.heappush(self.running, (self.now + self.costs[row, self.rungs_done[row]], row))
                if not decision.runs:
                    break
            if not self.running:
                break
            self._end_one()
            while self.rounds and self.running:
                self._end_one()
        busy = self.spent / (self.now * self.slots)
        return Searched(self.choice, self.now, self.decided, self.spent, busy, self.decisions)

    def _decide(self, count: int) -> Decision:
        seen = ~self.tuned | (np.cumsum(self.tuned) <= self.rungs_done[:, None])
        pending = np.zeros(len(self.rungs_done), dtype=bool)
        pending[[row for _, row in self.running]] = True
        budget = BUDGET * float(self.costs[:, -1].sum())
        state = State(self.curves.showing(seen), self.costs, self.spent, budget, pending=pending)
        decision = self.policy.decide(state, count)
        self.decisions += 1
        if decision.choice and decision.choice != self.choice:
            self.choice, self.decided = decision.choice, self.now
        return decision

    def _end_one(self) -> None:
        self.now, row = heapq.heappop(self.running)
        self.spent += float(self.costs[row, self.rungs_done[row]])
        self.rungs_done[row] += 1


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """Simulate every pool with every number of slots, both ways."""
    rng = np.random.default_rng(SEED)
    cases: dict[tuple[int, bool], list[tuple[Searched, float]]] = {}
    for curves in load().values():
        tuned = curves.sizes > 0
        for rows in random_subsets(len(curves.candidates), POOL_SIZE, POOLS, SEED):
            names = tuple(curves.candidates[row] for row in rows)
            pool = Curves(names, curves.sizes[tuned], curves.losses[rows][:, tuned])
            costs = pool.sizes * FASTEST_TO_SLOWEST ** rng.uniform(0, 1, (POOL_SIZE, 1))
            truth = pool.losses[:, -1]
            for slots in SLOTS:
                for rounds in (False, True):
                    searched = Simulation(ExpectedRegret(), pool, costs, slots, rounds).run()
                    chosen = truth[pool.candidates.index(searched.choice)] if searched.choice else truth.max()
                    rel_acc = 100 * float((truth.max() - chosen) / np.ptp(truth))
                    cases.setdefault((slots, rounds), []).append((searched, rel_acc))
    by_slots = [_summary(slots, cases) for slots in SLOTS]
    numbers = {"command": "python -m evidence slots", "seed": SEED, "cases": len(cases[1, True]), "slots": by_slots}
    return write_numbers(numbers, json_file)


def _summary(slots: int, cases: dict[tuple[int, bool], list[tuple[Searched, float]]]) -> dict[str, Any]:
    result: dict[str, Any] = {"slots": slots}
    for name, rounds in (("after_every_result", False), ("rounds", True)):
        mine, alone = cases[slots, rounds], cases[1, rounds]
        result[name] = {
            "rel_acc": float(np.mean([rel_acc for _, rel_acc in mine])),
            "wall_clock_over_one_slot": _ratio(mine, alone, "seconds"),
            "spent_over_one_slot": _ratio(mine, alone, "spent"),
            "busy": _median([searched.busy for searched, _ in mine]),
        }
    pairs = [(a, b) for (a, _), (b, _) in zip(cases[slots, False], cases[slots, True], strict=True)]
    alike = [(a, b) for a, b in pairs if a.choice == b.choice]
    result["chose_alike"] = len(alike) / len(pairs)
    for name in ("seconds", "decided"):
        ratios = [getattr(b, name) / max(getattr(a, name), 1e-9) for a, b in alike if getattr(a, name) > 0]
        result[f"rounds_over_every_result_{name}"] = {"median": _median(ratios), "quartiles": _quartiles(ratios)}
    return result


def _ratio(mine: list[tuple[Searched, float]], alone: list[tuple[Searched, float]], name: str) -> float:
    return _median([getattr(a, name) / getattr(b, name) for (a, _), (b, _) in zip(mine, alone, strict=True)])


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def _quartiles(values: list[float]) -> list[float]:
    return [float(edge) for edge in np.quantile(values, [0.25, 0.75])] if values else []
