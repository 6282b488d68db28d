"""Successive halving: after every rung the worse part is dropped for good."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lensllm.arrays import Floats
from lensllm.search.policy import Decision, Policy, State, best_measured, runs_up_to, to_wait_for, within_budget
from lensllm.selectors import Selector


class SuccessiveHalving(Policy):
    """All climb the first rungs, then the best part climbs one more, again and again (Jamieson & Talwalkar 2016).

    Args:
        start: rungs that every candidate climbs.
        keep: part of the candidates that goes on after every rung from there, rounded up.
        selector: forecasts the loss that decides who goes on; None for the loss measured at the rung.
    """

    name = "successive_halving"

    def __init__(self, start: int = 5, keep: float = 0.5, selector: Selector | None = None) -> None:
        self.start = start
        self.keep = keep
        self.selector = selector

    def decide(self, state: State, count: int = 1) -> Decision:
        """The survivors' missing runs at the rung that is being climbed."""
        alive = np.ones(len(state.losses), dtype=bool)
        dropped: tuple[str, ...] = ()
        for rung in range(min(self.start, state.rungs.size), state.rungs.size + 1):
            runs = runs_up_to(state, alive, rung, count)
            if runs:
                within = within_budget(state, runs)
                stopped = "" if within else "the budget ends"
                return Decision(runs=within, stopped=stopped, choice=self._best(state, alive), dropped=dropped)
            if to_wait_for(state, alive, rung):
                return Decision(choice=self._best(state, alive), dropped=dropped)
            alive &= state.rungs_done >= rung
            if rung == state.rungs.size or alive.sum() <= 1:
                break
            kept = max(1, int(np.ceil(self.keep * alive.sum() - 1e-9)))
            score = np.where(alive, self._scores(state, rung), np.inf)
            alive = np.zeros_like(alive)
            alive[np.argsort(score, kind="stable")[:kept]] = True
            dropped = tuple(name for name, on in zip(state.curves.candidates, alive, strict=True) if not on)
            if kept == 1:
                break
        stopped = "one candidate is left" if alive.sum() == 1 else "the last rung was climbed"
        return Decision(stopped=stopped, choice=self._best(state, alive), dropped=dropped)

    def _scores(self, state: State, rung: int) -> Floats:
        if self.selector is None:
            return state.losses[:, rung - 1]
        return self.selector.forecast(state.curves.up_to(state.rungs[rung - 1]), state.rungs[-1]).mean

    def _best(self, state: State, alive: NDArray[np.bool_]) -> str:
        if self.selector is None or not state.rungs_done[alive].any():
            return best_measured(state, alive)
        forecast = self.selector.forecast(state.curves, state.rungs[-1])
        return next(name for name in forecast.ranking if alive[forecast.candidates.index(name)])
