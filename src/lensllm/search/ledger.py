"""Every record of a search with what it cost: the state that decisions are taken from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np

from lensllm.curves import Curves, Floats, features
from lensllm.errors import BudgetTooSmall
from lensllm.jobs import UNKNOWN, Estimate
from lensllm.objectives import Between, Loss
from lensllm.odds import odds_of
from lensllm.probes.record import Probe
from lensllm.records import Record
from lensllm.search.cost import Budget
from lensllm.search.joining import Joined
from lensllm.search.log import DecisionLog, Logged
from lensllm.search.orders import Order
from lensllm.search.policy import State
from lensllm.search.speed import Speed
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
        objective: what candidates are ranked by; the loss if None.
        models: of the candidates, where models are tuned in several ways.

    Attributes:
        records: everything so far.
        dropped: candidates that a person took out.
        stopped: whether a person stopped it.
    """

    def __init__(
        self,
        candidates: Sequence[str],
        rungs: Sequence[int],
        flops: Floats,
        budget: Budget,
        probe_flops: Sequence[float] = (),
        objective: Loss | Between | None = None,
        models: Sequence[str] = (),
    ) -> None:
        self.candidates = list(candidates)
        self._rows = {name: row for row, name in enumerate(self.candidates)}
        self.rungs = list(rungs)
        self.flops = np.asarray(flops, dtype=float)
        self.budget = budget
        self.probe_flops = np.asarray(probe_flops or np.zeros(len(candidates)), dtype=float)
        self.objective = objective or Loss()
        self.models = list(models)
        self.records: list[Record] = []
        self.dropped: set[str] = set()
        self.stopped = False

    @classmethod
    def of(cls, log: DecisionLog) -> Ledger:
        """Without records, for the candidates and costs that a search began with."""
        flops = np.array(log.flops)
        return cls(log.candidates, log.rungs, flops, log.budget, log.probe_flops, log.objective, log.models)

    def follow(self, logged: Logged, records: Iterable[Record]) -> tuple[Order, ...]:
        """Take over what a decision was taken from: who joined, what came in, what a person asked for.

        Returns:
            The orders, those refused with the reason.
        """
        self.join(logged.joined)
        self.add(records)
        return self.obey(logged.orders)

    def join(self, joined: Iterable[Joined]) -> None:
        """Take in candidates that were added."""
        for one in joined:
            name, model = one.entrant.name, one.entrant.model
            if self.models or model != name:
                self.models = [*(self.models or self.candidates), model]
            self._rows[name] = len(self.candidates)
            self.candidates.append(name)
            self.flops = np.vstack([self.flops, one.flops])
            self.probe_flops = np.append(self.probe_flops, one.probe_flops)

    def obey(self, orders: Iterable[Order]) -> tuple[Order, ...]:
        """Carry out what can be: the same orders, those refused with the reason."""
        judged = []
        for order in orders:
            left = [name for name in self.candidates if name not in self.dropped]
            order = order.judged(left, self.budget.value)
            judged.append(order)
            if order.refused or order.kind == "add":
                continue
            if order.kind == "stop":
                self.stopped = True
            elif order.kind == "drop":
                self.dropped.add(order.candidate)
            else:
                self.budget = self.budget.raised(order.budget)
        return tuple(judged)

    def add(self, records: Iterable[Record]) -> None:
        """Charge what has ended."""
        self.records += records

    def estimate(self, kind: type[Record], candidate: str, examples: int) -> Estimate:
        """What a run or probe of a candidate should take; nothing known outside the ladder."""
        row = self._rows.get(candidate)
        if row is None:
            return UNKNOWN
        if kind.kind == Probe.kind:
            return Estimate(float(self.probe_flops[row]))
        return Estimate(float(self.flops[row, self.rungs.index(examples)])) if examples in self.rungs else UNKNOWN

    @property
    def costs(self) -> Floats:
        """Cost of every run, shape (K, R): FLOPs, or seconds where the budget is in hours."""
        a_second, beside, flops_beside = (np.array(column)[:, None] for column in zip(*self._paces(), strict=True))
        return beside + np.maximum(self.flops - flops_beside, 0.0) / a_second

    @property
    def probe_costs(self) -> Floats:
        """Cost of each candidate's probe, shape (K,), in the same unit."""
        return self.probe_flops / [pace[0] for pace in self._paces()]

    def _paces(self) -> list[tuple[float, float, float]]:
        """Every candidate's speed; as of all together until its own is known."""
        speeds = self._speeds()
        return [astuple(speeds.get(name, speeds[""])) for name in self.candidates]

    def _speeds(self) -> dict[str, Speed]:
        """Candidate -> from FLOPs to the budget's unit, where that is known; under no name that of all together."""
        if not self.budget.in_seconds:
            return {"": Speed(1.0)}
        runs: dict[str, list[Run]] = {"": []}
        for record in self.records:
            if isinstance(record, Run):
                runs.setdefault(record.candidate, []).append(record)
                runs[""].append(record)
        known = {name: Speed.of(own) for name, own in runs.items()}
        return {name: one for name, one in known.items() if name == "" or not math.isnan(one.flops_a_second)}

    @property
    def everything(self) -> float:
        """Cost of fine-tuning every candidate on all the data."""
        return math.fsum(self.costs[:, -1])

    @property
    def spent(self) -> float:
        """Cost of all records, failed ones included, the same whatever order they came in."""
        speeds = self._speeds()
        return math.fsum(self._charge(record, speeds) for record in self.records)

    def _charge(self, record: Record, speeds: Mapping[str, Speed]) -> float:
        known = record.seconds if self.budget.in_seconds else record.flops
        expected = self.estimate(type(record), record.candidate, record.examples).flops
        if known > 0 or math.isnan(expected):
            return known
        return speeds.get(record.candidate, speeds[""]).seconds(expected)

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

        A candidate whose run failed, or has not the score that candidates are ranked by, is run no further.

        Args:
            pending: candidates with a run that has not ended.
        """
        sizes = [0, *self.rungs]
        curves = Curves.from_records(self.records, self.objective, self.candidates, sizes)
        table = features(self.candidates, self.records)
        if self.models:
            table["model"] = self.models
        curves = curves.with_features(table)
        if isinstance(self.objective, Between):
            losses = Curves.from_records(self.records, Loss(), self.candidates, sizes).with_features(table)
            curves = replace(odds_of(curves, self.objective), beside=losses)
        runs = [record for record in self.records if isinstance(record, Run)]
        bad = {run.candidate for run in runs if run.status != "done"}
        if isinstance(self.objective, Between):
            bad |= {run.candidate for run in runs if run.examples and math.isnan(self.objective.read(run)[0])}
        return State(
            curves,
            self.costs,
            self.spent,
            self.budget.amount(self.everything),
            np.isin(self.candidates, list(bad)),
            np.isin(self.candidates, list(pending)),
        ).without(self.dropped)
