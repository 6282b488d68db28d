"""Fine-tune everything: what all other policies are measured against."""

from __future__ import annotations

import numpy as np

from lensllm.search.policy import Decision, Policy, State, best_measured, runs_up_to, within_budget


class Full(Policy):
    """Every candidate climbs the whole ladder; the lowest loss at its end is chosen."""

    name = "full"

    def decide(self, state: State, count: int = 1) -> Decision:
        """The lowest runs that are missing."""
        runs = runs_up_to(state, np.ones(len(state.losses), dtype=bool), state.rungs.size, count)
        if not runs and state.pending.any():  # type: ignore[union-attr]
            return Decision(choice=best_measured(state))
        if not runs:
            return Decision(stopped="every candidate was fine-tuned on all the data", choice=best_measured(state))
        if not (runs := within_budget(state, runs)):
            return Decision(stopped="the budget ends before every candidate is fine-tuned", choice=best_measured(state))
        return Decision(runs=runs, choice=best_measured(state))
