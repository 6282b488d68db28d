"""Every run and probe of a search with what it cost: the state that decisions are taken from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from lensllm.curves import Curves, Floats
from lensllm.errors import InputError
from lensllm.probes.record import Probe
from lensllm.search.cost import Budget, flops_a_second
from lensllm.search.policy import State
from lensllm.tuning.run import Run


class Ledger:
    """The runs and probes of some candidates, charged as they end.

    What failed is charged what it took, or what it should have taken if that is not known.

    Args:
        candidates: names, K of them.
        rungs: sizes of the ladder; the last is the target.
        flops: forecast FLOPs of every run, shape (K, R).
        budget: what may be spent.
        probe_flops: forecast FLOPs of each candidate's probe, shape (K,); empty if none is made.

    Attributes:
        runs: all runs so far.
        probes: all probes so far.
    """

    def __init__(
        self,
        candidates: Sequence[str],
        rungs: Sequence[int],
        flops: Floats,
        budget: Budget,
        probe_flops: Sequence[float] = (),
    ) -> None:
        self.candidates = list(candidates)
        self.rungs = list(rungs)
        self.flops = np.asarray(flops, dtype=float)
        self.budget = budget
        self.probe_flops = np.asarray(probe_flops or np.zeros(len(candidates)), dtype=float)
        self.runs: list[Run] = []
        self.probes: list[Probe] = []

    def add(self, made: Iterable[Run | Probe]) -> None:
        """Charge what has ended."""
        for one in made:
            if isinstance(one, Probe):
                self.probes.append(one)
            else:
                self.runs.append(one)

    @property
    def costs(self) -> Floats:
        """Cost of every run, shape (K, R): FLOPs, or seconds where the budget is in hours."""
        return self.flops / self._flops_a_unit[:, None]

    @property
    def probe_costs(self) -> Floats:
        """Cost of each candidate's probe, shape (K,), in the same unit."""
        return self.probe_flops / self._flops_a_unit

    @property
    def _flops_a_unit(self) -> Floats:
        """FLOPs that each candidate makes in one unit of the budget, shape (K,)."""
        if not self.budget.in_seconds:
            return np.ones(len(self.candidates))
        return np.array([flops_a_second([r for r in self.runs if r.candidate == name]) for name in self.candidates])

    @property
    def everything(self) -> float:
        """Cost of fine-tuning every candidate on all the data."""
        return float(self.costs[:, -1].sum())

    @property
    def spent(self) -> float:
        """Cost of all runs and probes, failed ones included."""
        return sum(map(self._charge, self.runs)) + sum(map(self._charge, self.probes))

    def _charge(self, one: Run | Probe) -> float:
        known = one.seconds if self.budget.in_seconds else one.flops
        if known > 0 or one.candidate not in self.candidates:
            return known
        row = self.candidates.index(one.candidate)
        if isinstance(one, Probe):
            return float(self.probe_costs[row])
        return float(self.costs[row, self.rungs.index(one.examples)]) if one.examples in self.rungs else known

    def check_budget(self) -> None:
        """Refuse a budget that does not pay the probes still to be made and two rungs of every candidate.

        Raises:
            InputError: naming the smallest that does and what it buys.
        """
        rungs = self.rungs[:2]
        waiting = ~np.isin(self.candidates, [probe.candidate for probe in self.probes])
        probing = float(self.probe_costs[waiting].sum())
        least = self.spent + probing + float(self.costs[:, : len(rungs)].sum())
        amount, everything = self.budget.amount(self.everything), self.everything
        if least > amount:
            probes = "the probe and " if self.probe_flops.any() else ""
            raise InputError(
                f"a budget of {self.budget.format(amount, everything)} does not reach {probes}two sizes of every "
                f"candidate: the smallest that does is {self.budget.format(least * 1.001, everything)} and buys "
                f"{probes}the sizes {' and '.join(map(str, rungs))} of {len(self.candidates)} candidates"
            )

    @property
    def probed(self) -> bool:
        """Whether any probe succeeded."""
        return any(probe.status == "done" for probe in self.probes)

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
        features = {probe.candidate: probe.features() for probe in self.probes if probe.status == "done"}
        table = pd.DataFrame.from_dict(features, orient="index").reindex(self.candidates)
        curves = Curves(tuple(self.candidates), np.array(sizes, dtype=float), losses, table)
        return State(curves, self.costs, self.spent, self.budget.amount(self.everything), closed)
