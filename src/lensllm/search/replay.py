"""A search over curves that are known already: what a policy would have run, chosen and spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lensllm.curves import Curves, Floats
from lensllm.errors import InputError
from lensllm.search.policy import Decision, Policy, State


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
