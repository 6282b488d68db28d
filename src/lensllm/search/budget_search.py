"""The search within a budget: a policy names the next runs after every result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.jobs import Estimate, Job
from lensllm.objectives import ScoreObjective
from lensllm.probes.measure_job import Measure
from lensllm.probes.record import Probe
from lensllm.records import Record
from lensllm.scores.scoring import Scoring
from lensllm.search.base import Search
from lensllm.search.cost import probe_examples, probe_flops, run_costs
from lensllm.search.joining import Admit, Admitted, Joined
from lensllm.search.ladder import nothing_measured
from lensllm.search.ladder_plan import LadderPlan
from lensllm.search.ledger import Ledger
from lensllm.search.log import FILE_NAME, DecisionLog, Logged
from lensllm.search.orders import Order, asked, forget
from lensllm.search.policy import Decision
from lensllm.search.replay import decide, policy_of
from lensllm.selectors import FORECAST_VERSION, Selector
from lensllm.store import Store
from lensllm.tasks import Task
from lensllm.tuning.candidate_job import CandidateJob
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run

if TYPE_CHECKING:
    from lensllm.tuning.attempts import Attempt
    from lensllm.tuning.tracking import Tracking

TOO_LATE = "the search is stopped"


class BudgetSearch(Search):
    """Every candidate as it came, probed if asked for, then whatever the default policy names.

    The policy decides whenever a run can be started and something is known that was not known before; what still runs
    is part of what it decides from. Every decision is written to `decisions.json` with the results that it followed
    from. A search that is begun again first takes the decisions that stand there.

    Args:
        candidates: to choose from.
        task: to choose for.
        plan: rungs, training and budget that fit the task.
        stop_p_best: probability of being best at which to stop.
        stop_regret: expected log loss above the best's at which to stop.
        kernel: probe every candidate before the first decision, paid from the budget.
        folder: of the log.
        scoring: what is scored after each run.
        at_once: name of a candidate -> what fits into memory, where that was planned.
        tracking: which trackers hear of the runs.
        rank_by: the score that decides, one of `scoring` with a floor and a ceiling; the loss if None.
        selector: what forecasts the losses, by name or as an object, whose decisions are always taken anew.
        admit: lets in the candidates that a person adds; None where none can be.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        task: Task,
        plan: LadderPlan,
        stop_p_best: float,
        stop_regret: float,
        *,
        kernel: bool,
        folder: Path,
        scoring: Scoring | None = None,
        at_once: Mapping[str, Attempt] | None = None,
        tracking: Tracking | None = None,
        rank_by: ScoreObjective | None = None,
        selector: Selector | str = "",
        admit: Admit | None = None,
    ) -> None:
        self._candidates = list(candidates)
        self._admit = admit
        self.added: list[Admitted] = []
        self._task = task
        self._training_config = plan.training_config
        self._kernel = kernel
        self._folder = folder
        one = rank_by
        score = {"name": one.name, "unit": one.unit, "floor": one.floor, "ceiling": one.ceiling} if one else {}
        selector = "" if rank_by else selector  # a score has one of its own
        own = None if isinstance(selector, str) else selector
        self._log = DecisionLog(
            [], plan.rungs, [], plan.budget, stop_p_best, stop_regret, forecast_version=FORECAST_VERSION, score=score,
            selector=selector if isinstance(selector, str) else type(selector).__name__, own_selector=own is not None,
        )  # fmt: skip
        self._ledger: Ledger | None = None
        self._policy = policy_of(self._log, own)
        self._scoring, self._tracking = scoring, tracking
        self._first = [self._as_it_came(one, (at_once or {}).get(one.name)) for one in self._candidates]
        self._waiting: list[CandidateJob] = list(self._first)
        self._begun: dict[str, CandidateJob] = {}
        self._stage: dict[str, Record | None] = {job.key: None for job in self._first}
        self._admitted: dict[str, Admitted] = {}
        self._joined: list[Joined] = []
        self._results: list[str] = []
        self._last: dict[str, tuple[FineTune, Record]] = {}
        self._news = True
        self._orders: set[str] = set()
        self.decision = Decision()
        self.expected = len(self._waiting)

    @property
    def stopped(self) -> str:  # type: ignore[override]
        """Why nothing more is run."""
        return self.decision.stopped if self.decision else ""

    @property
    def taken_out(self) -> Collection[str]:  # type: ignore[override]
        """Candidates that a person took out."""
        return self._ledger.dropped if self._ledger else ()

    def ask(self, count: int) -> list[Job]:
        """Jobs of the stage before the first decision, then those that the policy names.

        Raises:
            NothingMeasured: if no candidate could be measured as it came.
            BudgetTooSmall: if the budget does not pay the first runs of all.
        """
        if not self._waiting and not self._stage:
            orders = self._obeyed()
            if self._news or orders:
                decision = self._decide(count)
                self._take(Logged(self._results, self._pending, count, decision, orders, tuple(self._joined)))
        asked, self._waiting = self._waiting[:count], self._waiting[count:]
        self._begun |= {job.key: job for job in asked}
        return list(asked)

    def tell(self, job: Job, record: Record) -> None:
        """Charge the record; the first decision waits for every model as it came, and for their probes."""
        key = job.key
        self._begun.pop(key, None)
        if isinstance(job, FineTune):
            self._last[record.candidate] = job, record
        if key in self._stage:
            self._stage[key] = record
            if all(self._stage.values()):
                self._stage_ended()
            return
        assert self._ledger is not None
        if (admitted := self._admitted.pop(key, None)) is not None:
            self._measured(admitted, record)
        self._results.append(key)
        self._ledger.add([record])
        self._news = True

    def replay(self, store: Store) -> list[tuple[Job, Record]]:
        """Take the decisions of the log again, up to the first whose records the store has not, or that failed."""
        log = DecisionLog.read(self._folder) if (self._folder / FILE_NAME).is_file() else None
        if log is None or not self._goes_on_from(log):
            forget(self._folder)
            return []
        self._log.forecast_version = log.forecast_version
        told: list[tuple[Job, Record]] = []
        for logged in log.decisions:
            found = self._found(logged.results, store)
            told += found
            if len(found) < len(logged.results):
                return told
            assert self._ledger is not None
            orders = [self._let_in(order) for order in logged.orders]
            if any(now.refused != then.refused for now, then in zip(orders, logged.orders, strict=True)):
                return told
            self._orders |= {order.key for order in logged.orders}
            self._ledger.obey(logged.orders)
            self._take(logged)
        return told

    def _goes_on_from(self, log: DecisionLog) -> bool:
        """Whether a log is of this search, interrupted: the same candidates, settings and first jobs."""
        mine = self._log
        if log.own_selector or mine.own_selector:
            return False
        asked = ("rungs", "budget", "stop_p_best", "stop_regret", "score", "selector")
        same = all(getattr(log, name) == getattr(mine, name) for name in asked)
        if not same or bool(log.probe_flops) != self._kernel:
            return False
        first = {job.key for job in self._first}
        known = set(log.candidates) <= {candidate.name for candidate in self._candidates}
        return known and bool(log.decisions) and first <= set(log.decisions[0].results)

    def _found(self, keys: Sequence[str], store: Store) -> list[tuple[Job, Record]]:
        """Tell what the store has of these, in order, and take it off what waits."""
        told: list[tuple[Job, Record]] = []
        for key in keys:
            job = next((job for job in self._waiting if job.key == key), None)
            record = store.find(key, job.record_type) if job is not None else None
            if job is None or record is None or not record.final:
                break
            record = replace(record, candidate=job.candidate.name)
            self._waiting.remove(job)
            self.tell(job, record)
            told.append((job, record))
        return told

    def _stage_ended(self) -> None:
        records = [record for record in self._stage.values() if record is not None]
        self._results += list(self._stage)
        self._stage = {}
        opening = self._ledger is None
        if self._ledger is None:
            self._ledger = self._opened([record for record in records if isinstance(record, Run)])
        self._ledger.add(records)
        self._ledger.check_budget()
        if opening and self._kernel:
            usable = [one for one in self._candidates if one.name in self._log.candidates]
            examples = probe_examples(self._task)
            self._waiting = [self._probe(c, self._ledger.estimate(Probe, c.name, examples)) for c in usable]
            self._stage = {job.key: None for job in self._waiting}
            self.expected += len(self._waiting)

    def _opened(self, runs: list[Run]) -> Ledger:
        usable = {run.candidate: run for run in runs if run.status == "done"}
        if not usable:
            raise nothing_measured([run.candidate for run in runs], {run.candidate: run.error for run in runs})
        log, task, config = self._log, self._task, self._training_config
        log.candidates = list(usable)
        if any(candidate.name != candidate.untuned_name for candidate in self._candidates):
            models = {candidate.name: candidate.untuned_name for candidate in self._candidates}
            log.models = [models[name] for name in log.candidates]
        methods = {candidate.name: candidate.method for candidate in self._candidates}
        log.flops = run_costs(list(usable.values()), log.rungs, task, config, methods).tolist()
        if self._kernel:
            candidates = {candidate.name: candidate for candidate in self._candidates}
            log.probe_flops = [self._probe_flops(candidates[name], run) for name, run in usable.items()]
        return Ledger.of(log)

    def _probe_flops(self, candidate: Candidate, run: Run) -> float:
        return probe_flops(run, candidate.vocabulary, self._task, self._training_config, candidate.method)

    def _as_it_came(self, candidate: Candidate, at_once: Attempt | None) -> FineTune:
        return FineTune(
            candidate,
            self._task,
            self._training_config,
            0,
            scoring=self._scoring,
            at_once=at_once,
            tracking=self._tracking,
        )

    def _probe(self, candidate: Candidate, expected: Estimate) -> Measure:
        return Measure(candidate, self._task, self._training_config, probe_examples(self._task), expected)

    def _obeyed(self) -> tuple[Order, ...]:
        """What a person has asked for since the last look, carried out or refused."""
        assert self._ledger is not None
        new = asked(self._folder, self._orders)
        self._orders |= {order.key for order in new}
        if self._ledger.stopped or any(order.kind == "stop" for order in new):
            new = [replace(order, refused=TOO_LATE) if order.kind == "add" else order for order in new]
        return self._ledger.obey([self._let_in(order) for order in new])

    def _let_in(self, order: Order) -> Order:
        """The same order; a candidate to be added is measured as it came next, or refused with the reason."""
        if order.kind != "add" or order.refused:
            return order
        if self._admit is None:
            return replace(order, refused="no candidate can be added to this search")
        try:
            admitted = self._admit(order.model, order.method, self._candidates)
        except InputError as error:
            return replace(order, refused=str(error))
        job = self._as_it_came(admitted.candidate, admitted.at_once)
        self._candidates.append(admitted.candidate)
        self.added.append(admitted)
        self._admitted[job.key] = admitted
        self._waiting.append(job)
        self.expected += 1
        return replace(order, candidate=admitted.candidate.name)

    def _measured(self, admitted: Admitted, record: Record) -> None:
        """A candidate that was let in joins once it was measured as it came and, where all are, probed."""
        candidate = admitted.candidate
        run = self._last[candidate.name][1]
        assert isinstance(run, Run)
        if run.status != "done":
            return
        expected = self._probe_flops(candidate, run) if self._kernel else 0.0
        if self._kernel and not isinstance(record, Probe):
            probe = self._probe(candidate, Estimate(expected))
            self._admitted[probe.key] = admitted
            self._waiting.append(probe)
            self.expected += 1
            return
        assert self._ledger is not None
        flops = run_costs([run], self._log.rungs, self._task, self._training_config, {run.candidate: candidate.method})
        self._joined.append(Joined(admitted.entrant, tuple(map(float, flops[0])), expected))
        self._ledger.join(self._joined[-1:])

    def _decide(self, count: int) -> Decision:
        assert self._ledger is not None
        return decide(self._policy, self._ledger, self._pending, count)

    @property
    def _pending(self) -> list[str]:
        return sorted(job.candidate.name for job in self._begun.values() if isinstance(job, FineTune))

    def _take(self, logged: Logged) -> None:
        """Write a decision down and make its jobs wait to be asked for."""
        decision = logged.decision
        self._log.decisions.append(logged)
        self._log.write(self._folder)
        self._results, self._joined, self._news = [], [], len(decision.runs) == logged.count
        self.decision = decision
        self._waiting += [self._next(name) for name in decision.runs]
        self.expected += len(decision.runs)

    def _next(self, name: str) -> FineTune:
        assert self._ledger is not None
        job, record = self._last[name]
        larger = next(size for size in self._log.rungs if size > job.examples)
        following = job.next(record, larger, self._ledger.estimate(Run, name, larger))
        assert following is not None, "a policy names no candidate that failed"
        return following
