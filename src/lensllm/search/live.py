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
from lensllm.probes.record import Probe
from lensllm.search.cost import Budget, probe_examples, probe_flops, run_costs
from lensllm.search.ladder import doublings
from lensllm.search.ledger import Ledger
from lensllm.search.policy import Decision
from lensllm.search.regret import ExpectedRegret
from lensllm.search.workers import Job, ProbeJob, Setting
from lensllm.store import Store
from lensllm.tuning.run import Run

FILE_NAME = "decisions.json"
VERSION = 2
"""2: the first round may hold probes, which are then charged and forecast with."""


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
        probe_flops: forecast FLOPs of each candidate's probe; empty if none was made.
        rounds: of each, the keys of its runs in the store, in order, and the decision taken once all had ended. Probes
            belong to the first.
    """

    candidates: list[str]
    rungs: list[int]
    flops: list[list[float]]
    budget: Budget
    stop_p_best: float
    stop_regret: float
    count: int
    probe_flops: list[float] = field(default_factory=list)
    rounds: list[tuple[list[str], Decision]] = field(default_factory=list)

    def ledger(self) -> Ledger:
        """A ledger without entries."""
        return Ledger(self.candidates, self.rungs, np.array(self.flops), self.budget, self.probe_flops)

    def policy(self, ledger: Ledger) -> ExpectedRegret:
        """The policy that decides, forecasting as is done at the end."""
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
    """Every candidate as it came, probed if asked for, then whatever the default policy names, `count` runs a round.

    A round's decision is taken once all its runs have ended, from their results in a fixed order, so that it does not
    depend on which ended first.

    Args:
        candidates: to choose from.
        setting: task, protocol and output folder.
        budget: what may be spent.
        stop_p_best: probability of being best at which to stop.
        stop_regret: expected log loss above the best's at which to stop.
        count: runs a round.
        kernel: probe every candidate before the first decision, paid from the budget.

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
        kernel: bool = False,
    ) -> None:
        self.candidates = list(candidates)
        self._setting = setting
        self._record = Record([], doublings(len(setting.task.train)), [], budget, stop_p_best, stop_regret, count)
        self._kernel = kernel
        self._policy: ExpectedRegret | None = None
        self._ledger: Ledger | None = None
        self._results: dict[Job | ProbeJob, Run | Probe] = {}
        self._keys: list[str] = []
        self._last: dict[str, tuple[Job, Run]] = {}
        self._round: list[Job | ProbeJob] = self.start()
        self.expected = len(self._round)
        self.decision = Decision()

    @property
    def stopped(self) -> str:
        """Why nothing more is run."""
        return self.decision.stopped

    def start(self) -> list[Job | ProbeJob]:
        """The first jobs: every model as it came."""
        return [Job(candidate, 0) for candidate in self.candidates]

    def after(self, job: Job | ProbeJob, made: Run | Probe) -> list[Job | ProbeJob]:
        """The next jobs, once the last of those before has ended."""
        self._results[job] = made
        if isinstance(job, Job) and isinstance(made, Run):
            self._last[job.candidate.name] = job, made
        if len(self._results) < len(self._round):
            return []
        results, self._results = [self._results[job] for job in self._round], {}
        self._keys += [self._setting.key(job) for job in self._round]
        probing = self._kernel and self._ledger is None
        if self._ledger is None:
            self._ledger = self._opened([run for run in results if isinstance(run, Run)])
        self._ledger.add(results)
        if not self._record.rounds:
            self._ledger.check_budget()
        self._round = self._probes() if probing else self._decided(self._ledger)
        return self._round

    def _opened(self, runs: list[Run]) -> Ledger:
        usable = {run.candidate: run for run in runs if run.status == "done"}
        if not usable:
            raise InputError(f"no candidate could be measured; {runs[0].candidate}: {runs[0].error}")
        record, task, training_config = self._record, self._setting.task, self._setting.training_config
        record.candidates = list(usable)
        record.flops = run_costs(list(usable.values()), record.rungs, task, training_config).tolist()
        if self._kernel:
            vocabularies = {candidate.name: candidate.vocabulary for candidate in self.candidates}
            record.probe_flops = [
                probe_flops(run, vocabularies[name], task, training_config) for name, run in usable.items()
            ]
        return record.ledger()

    def _probes(self) -> list[Job | ProbeJob]:
        usable = [candidate for candidate in self.candidates if candidate.name in self._record.candidates]
        return [ProbeJob(candidate, probe_examples(self._setting.task)) for candidate in usable]

    def _decided(self, ledger: Ledger) -> list[Job | ProbeJob]:
        self._policy = self._policy or self._record.policy(ledger)
        self.decision = self._policy.decide(ledger.state, self._record.count)
        self._record.rounds.append((self._keys, self.decision))
        self._record.write(self._setting.folder)
        self._keys = []
        self.expected += len(self.decision.runs)
        return [self._next(name) for name in self.decision.runs]

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
    probes: list[Probe]
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
        InputError: if the folder has no record, or its store lacks a run or probe that a decision was taken from.
    """
    record = Record.read(folder)
    store, ledger, policy = Store(folder), record.ledger(), None
    replayed = []
    for number, (keys, recorded) in enumerate(record.rounds, start=1):
        runs, probes = len(ledger.runs), len(ledger.probes)
        for key in keys:
            made = store.find(key) or store.find(key, "probes")
            if made is None:
                store.close()
                raise InputError(
                    f"{store.path} has no run {key[:12]}, which round {number} made: run the selection again"
                )
            ledger.add([made])
        policy = policy or record.policy(ledger)
        decided = policy.decide(ledger.state, record.count)
        replayed.append(Replayed(ledger.runs[runs:], ledger.probes[probes:], ledger.spent, recorded, decided))
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
