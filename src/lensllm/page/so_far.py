"""What an output folder tells of a selection, whether it runs, was interrupted or is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lensllm.errors import InputError
from lensllm.probes.record import Probe
from lensllm.records import Record
from lensllm.saved import ANSWER
from lensllm.search.journal import Beginning, Begun, Entrant, JournalRead, alive
from lensllm.search.ledger import Ledger
from lensllm.search.log import FILE_NAME as DECISIONS
from lensllm.search.log import DecisionLog
from lensllm.search.orders import Order
from lensllm.selection import Selection
from lensllm.selectors.named import selector_named
from lensllm.store import FILE_NAME as RECORDS
from lensllm.store import Store
from lensllm.tuning.run import Run

Status = Literal["waiting", "running", "interrupted", "failed", "ended"]


@dataclass(frozen=True)
class SoFar:
    """A selection as far as it is.

    Attributes:
        folder: of the selection.
        status: "waiting" before it began.
        beginning: what was known then; None of a folder of an earlier version.
        selection: the answer, or what it would be now; None before anything was fine-tuned.
        records: by key, in the order they came.
        running: jobs that run.
        log: the decisions; None of a fixed list of sizes and before the first.
        done: jobs that ended.
        expected: jobs known of.
        failed: why there is no answer.
    """

    folder: Path
    status: Status
    beginning: Beginning | None = None
    selection: Selection | None = None
    records: dict[str, Record] | None = None
    running: tuple[Begun, ...] = ()
    log: DecisionLog | None = None
    done: int = 0
    expected: int = 0
    failed: str = ""

    @property
    def runs(self) -> dict[str, dict[int, Run]]:
        """Candidate -> examples -> its run; those that are done."""
        found: dict[str, dict[int, Run]] = {}
        for record in (self.records or {}).values():
            if isinstance(record, Run) and record.status == "done":
                found.setdefault(record.candidate, {})[record.examples] = record
        if not found and self.selection and self.selection.scored:
            return self.selection.scored.runs
        return found

    @property
    def ledger(self) -> Ledger | None:
        """What was spent of the budget; None where there are no decisions."""
        if self.log is None or not self.log.candidates:
            return None
        ledger = Ledger.of(self.log)
        for logged in self.log.decisions:
            ledger.follow(logged, ())
        ledger.add((self.records or {}).values())
        return ledger

    @property
    def entrants(self) -> dict[str, Entrant]:
        """Name -> candidate, those that a person added included."""
        known = (*(self.beginning.entrants if self.beginning else ()), *(self.log.added if self.log else ()))
        return {one.name: one for one in known}


def read_so_far(folder: str | Path) -> SoFar:
    """Read it.

    Raises:
        InputError: if something there is damaged, or was written by a newer version.
    """
    folder = Path(folder)
    journal = JournalRead.of(folder)
    log = DecisionLog.read(folder) if (folder / DECISIONS).is_file() else None
    if journal is None:
        if not (folder / ANSWER).is_file():
            return SoFar(folder, "waiting")
        return SoFar(folder, "ended", selection=Selection.load(folder), records=_of_log(folder, log), log=log)
    beginning = journal.beginning
    told = {key for key, _ in journal.told}
    if log and (beginning.sizes or not {key for one in log.decisions[:1] for key in one.results} <= told):
        log = None  # of another search before
    records = _records(folder, journal.told)
    status: Status = "ended" if journal.ended else "failed" if journal.failed else "running"
    if status == "running" and not alive(folder):
        status = "interrupted"
    selection = Selection.load(folder) if journal.ended else selection_so_far(beginning, list(records.values()), log)
    return SoFar(
        folder,
        status,
        beginning,
        selection,
        records,
        journal.running if status == "running" else (),
        log,
        journal.done,
        journal.expected,
        journal.failed,
    )


def selection_so_far(beginning: Beginning, records: Sequence[Record], log: DecisionLog | None) -> Selection | None:
    """What the answer would be if the selection ended now; None where no candidate was fine-tuned yet."""
    tuned = {one.candidate for one in records if isinstance(one, Run) and one.examples and one.status == "done"}
    dropped = {order.candidate for order in orders_of(log) if order.kind == "drop" and not order.refused}
    added = log.added if log else []
    entrants = [one for one in (*beginning.entrants, *added) if one.name in tuned - dropped]
    if not entrants:
        return None
    selection = Selection.from_records(
        records,
        entrants,
        task=beginning.task,
        target_size=beginning.target_size,
        flops_everything=math.fsum(log.whole_flops.values()) if log else math.nan,
        selector=None if beginning.own_selector else selector_named(beginning.selector),
    )
    selection = replace(selection, notes=(*beginning.notes, *_foreign(beginning)))
    if beginning.scores is None:
        return selection
    return selection.with_scores([one for one in records if one.candidate not in dropped], beginning.scores)


def _foreign(beginning: Beginning) -> list[str]:
    """What is said where the page cannot forecast as the selection does."""
    name = beginning.selector
    said = f"forecasts are the default's until the answer has those of {name}, the selector of a Python program"
    return [said] * beginning.own_selector


def orders_of(log: DecisionLog | None) -> list[Order]:
    """Those of a log, in order."""
    return [order for logged in log.decisions for order in logged.orders] if log else []


def _records(folder: Path, told: Sequence[tuple[str, str]]) -> dict[str, Record]:
    """Those of the keys that a journal names, each under the name that its candidate has now."""
    if not told:
        return {}
    store = Store(folder, readonly=True)
    try:
        known: dict[str, Record] = {}
        for key, candidate in told:
            record: Record | None = store.find(key, Run) or store.find(key, Probe)
            if record is not None:
                known[key] = replace(record, candidate=candidate or record.candidate)
        return known
    finally:
        store.close()


def _of_log(folder: Path, log: DecisionLog | None) -> dict[str, Record]:
    """Those that decisions were taken from."""
    keys = [key for logged in log.decisions for key in logged.results] if log else []
    if not (folder / RECORDS).is_file():
        return {}
    try:
        return _records(folder, [(key, "") for key in keys])
    except InputError:
        return {}
