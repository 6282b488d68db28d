"""The live search: rounds of runs that a policy names, every decision recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lensllm.candidates import Candidate
from lensllm.errors import InputError
from lensllm.search.cost import Budget, run_costs
from lensllm.search.ladder import doublings
from lensllm.search.ledger import Ledger
from lensllm.search.policy import Decision
from lensllm.search.regret import ExpectedRegret
from lensllm.search.workers import Job, Setting
from lensllm.store import Store
from lensllm.tuning.run import Run

FILE_NAME = "decisions.json"
VERSION = 1


@dataclass
class Record:
    """Everything that the decisions of a search follow from but the losses, and the decisions.

    Attributes:
        candidates: those that could be measured as they came.
        rungs: sizes of the ladder.
        flops: forecast FLOPs of every run, a row a candidate.
        budget: of the search.
        stop_p_best: probability of being best that ends it.
        stop_regret: expected regret that ends it.
        count: runs a round.
        rounds: of each, the keys of its runs in the store, in order, and the decision taken once all had ended.
    """

    candidates: list[str]
    rungs: list[int]
    flops: list[list[float]]
    budget: Budget
    stop_p_best: float
    stop_regret: float
    count: int
    rounds: list[tuple[list[str], Decision]] = field(default_factory=list)

    def policy(self) -> ExpectedRegret:
        """The policy that decided."""
        return ExpectedRegret(self.stop_p_best, self.stop_regret)

    def write(self, folder: Path) -> None:
        """Write `decisions.json` whole or not at all."""
        rounds = [{"keys": keys, "decision": _plain(decision)} for keys, decision in self.rounds]
        part = folder / f"{FILE_NAME}.part"
        part.write_text(json.dumps({"version": VERSION, **asdict(self), "rounds": rounds}, indent=1) + "\n")
        part.replace(folder / FILE_NAME)

    @classmethod
    def read(cls, folder: str | Path) -> Record:
        """The record of an output folder.

        Raises:
            InputError: if there is none or it is damaged.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise InputError(f"{folder} holds no decisions: give the output folder of a selection made within a budget")
        try:
            fields = json.loads(path.read_text())
            if (version := fields.pop("version")) > VERSION:
                raise InputError(f"{path} was written by a newer version of lensllm (record {version}): update lensllm")
            rounds = [(r["keys"], _decision(r["decision"])) for r in fields.pop("rounds")]
            return cls(**{**fields, "budget": Budget(**fields["budget"])}, rounds=rounds)
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is damaged ({error}): run the selection again to write it anew") from error


class Search:
    """Every candidate as it came, then whatever the default policy names, in rounds of `count` runs.

    A round's decision is taken once all its runs have ended, from their results in a fixed order, so that it does not
    depend on which ended first.

    Args:
        candidates: to choose from.
        setting: task, protocol and output folder.
        budget: what may be spent.
        stop_p_best: probability of being best at which to stop.
        stop_regret: expected log loss above the best's at which to stop.
        count: runs a round.

    Raises:
        InputError: if the task is smaller than the smallest rung.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        setting: Setting,
        budget: Budget,
        stop_p_best: float,
        stop_regret: float,
        count: int,
    ) -> None:
        self.candidates = list(candidates)
        self._setting = setting
        self._record = Record([], doublings(len(setting.task.train)), [], budget, stop_p_best, stop_regret, count)
        self._policy = self._record.policy()
        self._ledger: Ledger | None = None
        self._round = self.start()
        self._results: dict[Job, Run] = {}
        self._last: dict[str, tuple[Job, Run]] = {}
        self.expected = len(self._round)
        self.decision = Decision()

    @property
    def stopped(self) -> str:
        """Why nothing more is run."""
        return self.decision.stopped

    def start(self) -> list[Job]:
        """The first jobs: every model as it came."""
        return [Job(candidate, 0) for candidate in self.candidates]

    def after(self, job: Job, run: Run) -> list[Job]:
        """The next round, once the last run of a round has ended."""
        self._results[job] = run
        self._last[job.candidate.name] = job, run
        if len(self._results) < len(self._round):
            return []
        runs = [self._results[job] for job in self._round]
        if self._ledger is None:
            self._ledger = self._opened(runs)
        self._ledger.runs += runs
        if len(self._ledger.runs) == len(self.candidates):
            self._ledger.check_budget()
        self.decision = self._policy.decide(self._ledger.state, self._record.count)
        self._record.rounds.append(([self._setting.key(job) for job in self._round], self.decision))
        self._record.write(self._setting.folder)
        self._round, self._results = [self._next(name) for name in self.decision.runs], {}
        self.expected += len(self._round)
        return self._round

    def _opened(self, runs: list[Run]) -> Ledger:
        usable = [run for run in runs if run.status == "done"]
        if not usable:
            raise InputError(f"no candidate could be measured; {runs[0].candidate}: {runs[0].error}")
        record = self._record
        record.candidates = [run.candidate for run in usable]
        flops = run_costs(usable, record.rungs, self._setting.task, self._setting.protocol)
        record.flops = flops.tolist()
        return Ledger(record.candidates, record.rungs, flops, record.budget)

    def _next(self, name: str) -> Job:
        job, run = self._last[name]
        larger = next(size for size in self._record.rungs if size > job.examples)
        if job.examples == 0:
            return Job(job.candidate, larger)
        return Job(job.candidate, larger, run.learning_rate, run.validation)


@dataclass(frozen=True)
class Replayed:
    """A round as it was recorded and as it is decided now."""

    runs: list[Run]
    spent: float
    recorded: Decision
    decided: Decision

    @property
    def agrees(self) -> bool:
        """Whether the same runs, or the same end, follow."""
        then, now = self.recorded, self.decided
        return (then.runs, then.stopped, then.choice) == (now.runs, now.stopped, now.choice)


def replay_folder(folder: str | Path) -> list[Replayed]:
    """Take every decision of a search again from the runs in its store.

    Raises:
        InputError: if the folder has no record, or its store lacks a run that a decision was taken from.
    """
    record = Record.read(folder)
    store, policy = Store(folder), record.policy()
    ledger = Ledger(record.candidates, record.rungs, np.array(record.flops), record.budget)
    replayed = []
    for number, (keys, recorded) in enumerate(record.rounds, start=1):
        runs = []
        for key in keys:
            run = store.find(key)
            if run is None:
                store.close()
                raise InputError(
                    f"{store.path} has no run {key[:12]}, which round {number} made: run the selection again"
                )
            runs.append(run)
        ledger.runs += runs
        replayed.append(Replayed(runs, ledger.spent, recorded, policy.decide(ledger.state, record.count)))
    store.close()
    return replayed


def _plain(decision: Decision) -> dict[str, Any]:
    """With null for what JSON does not know."""
    return json.loads(json.dumps(asdict(decision)), parse_constant=lambda _: None)


def _decision(fields: dict[str, Any]) -> Decision:
    known = {name: value for name, value in fields.items() if value is not None}
    for name in ("runs", "dropped"):
        known[name] = tuple(known[name])
    return Decision(**known)
