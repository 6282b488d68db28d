"""Every run of a search with what it cost: the state that decisions are taken from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lensllm.curves import Curves, Floats
from lensllm.errors import InputError
from lensllm.search.cost import Budget, flops_a_second
from lensllm.search.policy import State
from lensllm.tuning.run import Run


class Ledger:
    """The runs of some candidates, charged as they end.

    Args:
        candidates: names, K of them.
        rungs: sizes of the ladder; the last is the target.
        flops: forecast FLOPs of every run, shape (K, R).
        budget: what may be spent.
        runs: all runs so far; a failed one is charged what it took, or what it should have taken if that is not known.
    """

    def __init__(
        self, candidates: Sequence[str], rungs: Sequence[int], flops: Floats, budget: Budget, runs: Iterable[Run] = ()
    ) -> None:
        self.candidates = list(candidates)
        self.rungs = list(rungs)
        self.flops = np.asarray(flops, dtype=float)
        self.budget = budget
        self.runs = list(runs)

    @property
    def costs(self) -> Floats:
        """Cost of every run, shape (K, R): FLOPs, or seconds where the budget is in hours."""
        if not self.budget.in_seconds:
            return self.flops
        speeds = np.array([flops_a_second([r for r in self.runs if r.candidate == name]) for name in self.candidates])
        return self.flops / speeds[:, None]

    @property
    def everything(self) -> float:
        """Cost of fine-tuning every candidate on all the data."""
        return float(self.costs[:, -1].sum())

    @property
    def spent(self) -> float:
        """Cost of all runs, failed ones included."""
        return sum(self._charge(run) for run in self.runs)

    def _charge(self, run: Run) -> float:
        known = run.seconds if self.budget.in_seconds else run.flops
        if known > 0 or run.examples not in self.rungs or run.candidate not in self.candidates:
            return known
        return float(self.costs[self.candidates.index(run.candidate), self.rungs.index(run.examples)])

    def check_budget(self) -> None:
        """Refuse a budget that does not reach two rungs of every candidate.

        Raises:
            InputError: naming the smallest that does and what it buys.
        """
        rungs = self.rungs[:2]
        least = self.spent + float(self.costs[:, : len(rungs)].sum())
        amount, everything = self.budget.amount(self.everything), self.everything
        if least > amount:
            raise InputError(
                f"a budget of {self.budget.said(amount, everything)} does not reach two sizes of every candidate: the "
                f"smallest that does is {self.budget.said(least * 1.001, everything)} and buys the sizes "
                f"{' and '.join(map(str, rungs))} of {len(self.candidates)} candidates"
            )

    @property
    def state(self) -> State:
        """What a policy decides from."""
        sizes = [0, *self.rungs]
        losses = np.full((len(self.candidates), len(sizes)), np.nan)
        closed = np.zeros(len(self.candidates), dtype=bool)
        for run in self.runs:
            if run.candidate in self.candidates:
                row = self.candidates.index(run.candidate)
                losses[row, sizes.index(run.examples)] = run.nats_per_byte if run.status == "done" else np.nan
                closed[row] |= run.status != "done"
        curves = Curves(tuple(self.candidates), np.array(sizes, dtype=float), losses)
        return State(curves, self.costs, self.spent, self.budget.amount(self.everything), closed)
