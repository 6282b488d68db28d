"""Asynchronous successive halving: nobody waits for a whole rung."""

from __future__ import annotations

import numpy as np

from lensllm.search.policy import Decision, Policy, State, best_measured, runs_up_to, within_budget


class Asha(Policy):
    """A candidate goes on as soon as it is among the best part of those that reached its rung (Li et al. 2020).

    The highest rung with somebody to promote comes first; with nobody, the next candidate starts. A late good one can
    still overtake.

    Args:
        start: rungs that a candidate climbs before it is compared.
        reduction: one in so many goes on (eta of the paper, which uses 4; rungs here are doublings).
    """

    name = "asha"

    def __init__(self, start: int = 5, reduction: float = 2.0) -> None:
        self.start = start
        self.reduction = reduction

    def decide(self, state: State, count: int = 1) -> Decision:
        """Promotions from the highest rung down, then candidates that have not reached the first comparison."""
        names = state.curves.candidates
        runs: list[str] = []
        for rung in range(state.rungs.size - 1, min(self.start, state.rungs.size) - 1, -1):
            reached = np.flatnonzero(state.rungs_done >= rung)
            best = reached[np.argsort(state.losses[reached, rung - 1], kind="stable")]
            promoted = best[: int(reached.size / self.reduction)]
            runs += [names[i] for i in promoted if state.rungs_done[i] == rung and state.open[i]]
        starting = state.rungs_done < min(self.start, state.rungs.size)
        begun = starting & (state.rungs_done > 0)
        runs += runs_up_to(state, begun, self.start, count) + runs_up_to(state, starting & ~begun, self.start, count)
        if not runs and state.pending.any():  # type: ignore[union-attr]
            return Decision(choice=best_measured(state))
        if not runs:
            return Decision(stopped="nobody is left to promote", choice=best_measured(state))
        within = within_budget(state, tuple(runs[:count]))
        return Decision(runs=within, stopped="" if within else "the budget ends", choice=best_measured(state))
