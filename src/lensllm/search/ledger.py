"""Every record of a search with what it cost: the state that decisions are taken from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from lensllm.curves import Curves, Floats, features
from lensllm.errors import BudgetTooSmall
from lensllm.jobs import UNKNOWN, Estimate
from lensllm.objectives import Loss, Objective
from lensllm.probes.record import Probe
from lensllm.records import Record
from lensllm.search.cost import Budget, flops_a_second
from lensllm.search.policy import State
from lensllm.tuning.run import Run


class Ledger:
    """The records of some candidates, charged as they come.

    What failed is charged what it took, or what it should have taken if that is not known.

    Args:
        candidates: names, K of them.
        rungs: sizes of the ladder; the last is the target.
        flops: forecast FLOPs of every run, shape (K, R).
        budget: what may be spent.
        probe_flops: forecast FLOPs of each candidate's probe, shape (K,); empty if none is made.
        objective: what candidates are ranked by.
        models: of the candidates, where models are tuned in several ways.

    Attributes:
        records: everything so far.
    """

    def __init__(
        self,
        candidates: Sequence[str],
        rungs: Sequence[int],
        flops: Floats,
        budget: Budget,
        probe_flops: Sequence[float] = (),
        objective: Objective | None = None,
        models: Sequence[str] = (),
    ) -> None:
        self.candidates = list(candidates)
        self.rungs = list(rungs)
        self.flops = np.asarray(flops, dtype=float)
        self.budget = budget
        self.probe_flops = np.asarray(probe_flops or np.zeros(len(candidates)), dtype=float)
        self.objective = objective or Loss()
        self.models = list(models)
        self.records: list[Record] = []

    def add(self, records: Iterable[Record]) -> None:
        """Charge what has ended."""
        self.records += records

    def estimate(self, kind: type[Record], candidate: str, examples: int) -> Estimate:
        """What a run or probe of a candidate should take; nothing known outside the ladder."""
        if candidate not in self.candidates:
            return UNKNOWN
        row = self.candidates.index(candidate)
        if kind.kind == Probe.kind:
            return Estimate(float(self.probe_flops[row]))
        return Estimate(float(self.flops[row, self.rungs.index(examples)])) if examples in self.rungs else UNKNOWN

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
        """FLOPs that each candidate makes in a unit of the budget, shape (K,); as all make until its own are known."""
        return np.array([self._speed(name) for name in self.candidates])

    def _speed(self, candidate: str) -> float:
        if not self.budget.in_seconds:
            return 1.0
        runs = [record for record in self.records if isinstance(record, Run)]
        own = flops_a_second([run for run in runs if run.candidate == candidate])
        return flops_a_second(runs) if math.isnan(own) else own

    @property
    def everything(self) -> float:
        """Cost of fine-tuning every candidate on all the data."""
        return math.fsum(self.costs[:, -1])

    @property
    def spent(self) -> float:
        """Cost of all records, failed ones included, the same whatever order they came in."""
        return math.fsum(map(self._charge, self.records))

    def _charge(self, record: Record) -> float:
        known = record.seconds if self.budget.in_seconds else record.flops
        expected = self.estimate(type(record), record.candidate, record.examples).flops
        if known > 0 or math.isnan(expected):
            return known
        return expected / self._speed(record.candidate)

    def check_budget(self) -> None:
        """Refuse a budget that does not pay the probes still to be made and two rungs of every candidate.

        Raises:
            BudgetTooSmall: naming the smallest that does and what it buys.
        """
        rungs = self.rungs[:2]
        probed = [record.candidate for record in self.records if record.kind == Probe.kind]
        probing = math.fsum(self.probe_costs[~np.isin(self.candidates, probed)])
        least = self.spent + probing + float(self.costs[:, : len(rungs)].sum())
        amount, everything = self.budget.amount(self.everything), self.everything
        if least > amount:
            probes = "the probe and " if self.probe_flops.any() else ""
            smallest = least * 1.001
            raise BudgetTooSmall(
                f"a budget of {self.budget.format(amount, everything)} does not reach {probes}two sizes of every "
                f"candidate: the smallest that does is {self.budget.format(smallest, everything)} and buys "
                f"{probes}the sizes {' and '.join(map(str, rungs))} of {len(self.candidates)} candidates",
                self.budget.in_unit(amount, everything),
                self.budget.in_unit(smallest, everything),
            )

    def state(self, pending: Iterable[str] = ()) -> State:
        """What a policy decides from.

        Args:
            pending: candidates with a run that has not ended.
        """
        curves = Curves.from_records(self.records, self.objective, self.candidates, [0, *self.rungs])
        table = features(self.candidates, self.records)
        if self.models:
            table["model"] = self.models
        curves = curves.with_features(table)
        bad = {record.candidate for record in self.records if record.kind == Run.kind and record.status != "done"}
        return State(
            curves,
            self.costs,
            self.spent,
            self.budget.amount(self.everything),
            np.isin(self.candidates, list(bad)),
            np.isin(self.candidates, list(pending)),
        )
