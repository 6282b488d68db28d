"""Decisions taken again: of a search that was carried out, from its log; of curves that are known to the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.probes.record import Probe
from lensllm.records import Record
from lensllm.search.ledger import Ledger
from lensllm.search.log import DecisionLog
from lensllm.search.orders import STOPPED, Order
from lensllm.search.policy import Decision, Policy, State
from lensllm.search.regret import ExpectedRegret
from lensllm.selectors import ScoresBesideLosses, Selector
from lensllm.selectors.named import selector_named
from lensllm.store import Store
from lensllm.tuning.run import Run


def policy_of(log: DecisionLog, selector: Selector | None = None) -> ExpectedRegret:
    """The policy that decides, with the forecast that is shown at the end.

    Args:
        log: says how.
        selector: the object of a Python program, where one forecasts.

    Raises:
        InputError: if one does and it is not given.
    """
    if log.own_selector and selector is None:
        raise InputError(
            f"these decisions were taken with {log.selector}, the selector of a Python program, which is not kept: "
            "lensllm.search.replay.replay_folder(folder, selector) takes them again"
        )
    selector = ScoresBesideLosses() if log.score else selector or selector_named(log.selector)
    return ExpectedRegret(log.stop_p_best, log.stop_regret, selector=selector, objective=log.objective)


def decide(policy: ExpectedRegret, ledger: Ledger, pending: Sequence[str], count: int) -> Decision:
    """What the policy says, or the end where a person wants it."""
    state = ledger.state(pending)
    return policy.concluded(state, STOPPED) if ledger.stopped else policy.decide(state, count)


@dataclass(frozen=True)
class Replayed:
    """A decision as it was recorded and as it is taken now.

    Attributes:
        records: what came in before it, since the one before.
        pending: candidates with a run that had not ended.
        spent: cost of all records so far, in the budget's unit.
        recorded: the decision then.
        decided: the decision now.
        orders: what a person asked for before it.
    """

    records: list[Record]
    pending: list[str]
    spent: float
    recorded: Decision
    decided: Decision
    orders: tuple[Order, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the same runs, or the same end, follow."""
        then, now = self.recorded, self.decided
        return (then.runs, then.stopped, then.choice) == (now.runs, now.stopped, now.choice)


def replay_folder(folder: str | Path, selector: Selector | None = None) -> list[Replayed]:
    """Take every decision of a search again from the records in its store.

    Args:
        folder: of the search.
        selector: the object that a Python program gave it.

    Raises:
        InputError: if the folder has no log, its store lacks a record that a decision was taken from, or a selector
            is needed.
    """
    log = DecisionLog.read(folder)
    ledger, replayed = Ledger.of(log), []
    policy = policy_of(log, selector)
    store = Store(folder, readonly=True)
    try:
        for number, logged in enumerate(log.decisions, start=1):
            records = [_record(store, key, number) for key in logged.results]
            orders = ledger.follow(logged, records)
            decided = decide(policy, ledger, logged.pending, logged.count)
            replayed.append(Replayed(records, logged.pending, ledger.spent, logged.decision, decided, orders))
    finally:
        store.close()
    return replayed


def _record(store: Store, key: str, number: int) -> Record:
    found = store.find(key, Run) or store.find(key, Probe)
    if found is None:
        raise InputError(
            f"{store.path} has no record {key[:12]}, which decision {number} was taken from: run the selection again"
        )
    return found


@dataclass(frozen=True)
class Step:
    """A decision and what had been spent when it was taken."""

    spent: float
    decision: Decision


def replay(
    policy: Policy,
    curves: Curves,
    costs: Floats,
    *,
    budget: float = float("inf"),
    count: int = 1,
    until: Callable[[Step], bool] = lambda step: False,
) -> list[Step]:
    """Let the policy search the curves, each run revealed when it asks for it.

    Args:
        policy: decides.
        curves: losses of all candidates at all rungs, size 0 if it is known; the last size is the target.
        costs: of every run, shape (K, R).
        budget: in the unit of the costs.
        count: runs a decision.
        until: ends the replay early.

    Returns:
        Every decision in turn, the last one with the reason to stop.

    Raises:
        InputError: if a loss is missing.
    """
    holes = np.argwhere(~np.isfinite(curves.losses))
    if holes.size:
        row, column = holes[0]
        raise InputError(
            f"the curve of {curves.candidates[row]} has no loss at {curves.sizes[column]:g} examples: "
            "leave out candidates or sizes so that every candidate is measured at every size"
        )
    tuned = curves.sizes > 0
    rungs_done = np.zeros(len(curves.candidates), dtype=int)
    spent, steps = 0.0, []
    while True:
        seen = ~tuned | (np.cumsum(tuned) <= rungs_done[:, None])
        known = curves.showing(seen)
        decision = policy.decide(State(known, costs, spent, budget), count)
        steps.append(Step(spent, decision))
        if not decision.runs or until(steps[-1]):
            return steps
        for name in decision.runs:
            row = curves.candidates.index(name)
            spent += costs[row, rungs_done[row]]
            rungs_done[row] += 1
