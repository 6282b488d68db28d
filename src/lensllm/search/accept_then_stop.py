"""Accept-then-Stop as a search: a fixed ladder for all, then the forecast decides."""

from __future__ import annotations

import numpy as np

from lensllm.search.policy import Decision, Policy, State, runs_up_to, to_wait_for, within_budget
from lensllm.selectors import AcceptThenStop, Selector


class AcceptThenStopPolicy(Policy):
    """Every candidate climbs the same rungs; the lowest Accept-then-Stop forecast is chosen (Lin et al. 2024).

    Args:
        rungs: number of rungs climbed; the budget may end earlier.
        selector: the fit, with the paper's gamma (`AcceptThenStop.k`) and tau (`AcceptThenStop.delta`).
    """

    name = "accept_then_stop"

    def __init__(self, rungs: int, selector: Selector | None = None) -> None:
        self.rungs = rungs
        self.selector = selector or AcceptThenStop()

    def decide(self, state: State, count: int = 1) -> Decision:
        """The lowest runs that are missing up to the last rung asked for."""
        everyone = np.ones(len(state.losses), dtype=bool)
        runs = runs_up_to(state, everyone, self.rungs, count)
        if runs and (within := within_budget(state, runs)):
            return Decision(runs=within)
        if not runs and to_wait_for(state, everyone, self.rungs):
            return Decision()
        choice = ""
        if state.rungs_done.any():
            choice = self.selector.forecast(state.curves, state.rungs[-1]).best
        stopped = "the budget ends" if runs else f"every candidate climbed {min(self.rungs, state.rungs.size)} rungs"
        return Decision(stopped=stopped, choice=choice)
