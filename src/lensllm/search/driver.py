"""The one loop: replay what was decided, ask, submit what fits, wait, put, tell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from lensllm.execution import Executor
from lensllm.jobs import Job, Lost
from lensllm.records import Record
from lensllm.search.base import Search
from lensllm.search.callbacks import Callback, Progress
from lensllm.store import Store
from lensllm.tuning.candidate_job import CandidateJob

LOOK_EVERY = 0.2
"""Seconds between two looks at what another process is making."""
TRIES = 2
"""A job whose worker died is tried once more: it may have been killed for the memory that another took."""


def drive(
    search: Search, executor: Executor, store: Store, callbacks: Sequence[Callback] = ()
) -> list[tuple[Job, Record]]:
    """Carry a search through.

    What the store has is not made again, and what another living process makes is waited for. What several candidates
    share, such as their model as it came, is made for one and charged once. Every record is in the
    store before the search hears of it. With one slot the order of everything is the same each time; with more, the
    order of results decides what comes next, and the search's log tells it.

    Args:
        search: says what comes next.
        executor: runs it; left open.
        store: gets the records; nobody but the driver writes to it. Left open.
        callbacks: hear of everything.

    Returns:
        Every job with its record, in the order the search was told.

    Raises:
        InputError: as the search's `ask`, or if the store cannot be written.
    """
    return _Drive(search, executor, store, callbacks).through()


class _Drive:
    def __init__(self, search: Search, executor: Executor, store: Store, callbacks: Sequence[Callback]) -> None:
        self.search, self.executor, self.store, self.callbacks = search, executor, store, callbacks
        self.told: list[tuple[Job, Record]] = []
        self.running = 0
        self.elsewhere: list[CandidateJob] = []
        self.tries: dict[str, int] = {}
        self.shared: dict[str, Record | None] = {}
        """Key that jobs share -> what came of the first of them, None while it runs."""

    def through(self) -> list[tuple[Job, Record]]:
        for job, record in self.search.replay(self.store):
            self._share(job, record)
            self._note(job, record)
        while True:
            self._fill()
            if not self.running and not self.elsewhere:
                break
            self._wait()
        for callback in self.callbacks:
            callback.on_end(self._progress)
        return self.told

    def _fill(self) -> None:
        """Ask while a slot is free and the search has something for it."""
        while (free := self.executor.free_slots) > 0:
            before = self.search.decision
            asked = self.search.ask(free)
            if self.search.decision is not None and self.search.decision is not before:
                for callback in self.callbacks:
                    callback.on_decision(self.search.decision)
            if not asked:
                return
            for job in asked:
                self._begin(job)  # type: ignore[arg-type]

    def _begin(self, job: CandidateJob) -> None:
        """Tell what the store has; else submit, unless another process is making it."""
        found = self.store.find(job.key, job.record_type)
        if found is not None and found.final:
            self._tell(job, found)
        elif (same := self.shared.get(job.shared_key)) is not None:
            record = replace(same.untimed, candidate=job.candidate.name, flops=0.0)
            self.store.put(job.key, job.task.name, record)
            self._tell(job, record)
        elif job.shared_key in self.shared:
            self.elsewhere.append(job)
        elif self.store.claim(job.key, job.task.name, job.candidate.name, job.examples):
            self.running += 1
            self.shared[job.shared_key] = None
            for callback in self.callbacks:
                callback.on_run_begin(job, self._progress)
            self.executor.submit(job)
        else:
            self.elsewhere.append(job)

    def _wait(self) -> None:
        if not self.running:
            time.sleep(LOOK_EVERY)
        elif (outcome := self.executor.wait(LOOK_EVERY if self.elsewhere else None)) is not None:
            self._ended(*outcome)
            self._take_ready()
        waiting, self.elsewhere = self.elsewhere, []
        for job in waiting:
            found = self.store.find(job.key, job.record_type)
            known = self.shared.get(job.shared_key) or found
            if self.executor.free_slots > 0 or (known is not None and known.final):
                self._begin(job)
            else:
                self.elsewhere.append(job)

    def _take_ready(self) -> None:
        """Whatever has ended by now is part of the next decision: where deciding takes long, none waits for another."""
        while self.running and (outcome := self.executor.wait(0)) is not None:
            self._ended(*outcome)

    def _ended(self, job: Job, outcome: Record | Lost) -> None:
        assert isinstance(job, CandidateJob)
        if isinstance(outcome, Lost):
            self.tries[job.key] = self.tries.get(job.key, 1) + 1
            if self.tries[job.key] <= TRIES:
                self.executor.submit(job)
                return
            outcome = job.failed(f"{outcome.reason}, twice")
        self.running -= 1
        self.store.put(job.key, job.task.name, outcome)
        self._tell(job, outcome)

    def _tell(self, job: CandidateJob, record: Record) -> None:
        """A record from the store may have been made when the candidate had another name."""
        record = replace(record, candidate=job.candidate.name)
        self._share(job, record)
        self.search.tell(job, record)
        self._note(job, record)

    def _share(self, job: Job, record: Record) -> None:
        """Keep what others can take over; where it may go better the next time, the next one tries."""
        assert isinstance(job, CandidateJob)
        if not record.final:
            self.shared.pop(job.shared_key, None)
        elif self.shared.get(job.shared_key) is None:
            self.shared[job.shared_key] = record

    def _note(self, job: Job, record: Record) -> None:
        self.told.append((job, record))
        for callback in self.callbacks:
            callback.on_run_end(job, record, self._progress)

    @property
    def _progress(self) -> Progress:
        return Progress(len(self.told), self.search.expected)
