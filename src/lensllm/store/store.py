"""Every run and probe, once, in one SQLite file that survives a kill at any moment."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import psutil

from lensllm.errors import InputError
from lensllm.probes.record import Probe
from lensllm.tuning.run import LearningRateTrial, Run

Kind = Literal["runs", "probes"]
"""Names of the two tables."""

VERSION = 1
FILE_NAME = "runs.sqlite"
POLL_SECONDS = 0.2
RETRIED = ("failed",)

SCHEMA = """
CREATE TABLE IF NOT EXISTS {kind} (
    key TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    candidate TEXT NOT NULL,
    examples INTEGER NOT NULL,
    status TEXT NOT NULL,
    record TEXT,
    owner_pid INTEGER,
    owner_started REAL,
    updated REAL NOT NULL
);
"""


class Store:
    """The runs and probes of one output folder.

    Each is claimed before it starts and recorded before the next begins; SQLite's write-ahead log makes both durable.
    A claim holds as long as the process that made it lives, so several processes can share a store and none repeats
    another's work, and a killed process loses only what it was running.

    Args:
        folder: holds `runs.sqlite`; made if it does not exist.

    Raises:
        InputError: if the file is damaged or was written by a newer version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FILE_NAME
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            with self._writing():
                version = self._connection.execute("PRAGMA user_version").fetchone()[0]
                if version <= VERSION:
                    for kind in ("runs", "probes"):
                        self._connection.execute(SCHEMA.format(kind=kind))
                    self._connection.execute(f"PRAGMA user_version={VERSION}")
        except (sqlite3.DatabaseError, OSError) as error:
            raise InputError(f"{self.path} cannot be used as a store ({error}): give another output folder") from error
        if version > VERSION:
            raise InputError(f"{self.path} was written by a newer version of lensllm (store {version}): update lensllm")

    def once(
        self, key: str, task: str, candidate: str, examples: int, make: Callable[[], Run | Probe], kind: Kind = "runs"
    ) -> Run | Probe:
        """The finished run or probe of this key, or `make()` if there is none yet, recorded before it is returned.

        While another living process is making it, wait for that one's. What failed is made anew; what is done or
        diverged is not.
        """
        while True:
            found = self._claim(key, task, candidate, examples, kind)
            if not isinstance(found, bool):
                return found
            if found:
                made = make()
                self._record(key, made)
                return made
            time.sleep(POLL_SECONDS)

    def put(self, key: str, task: str, made: Run | Probe) -> None:
        """Record what was made elsewhere, or whose process died before it could record it."""
        with self._writing():
            self._connection.execute(
                f"INSERT OR REPLACE INTO {_kind(made)} VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, ?)",
                (key, task, made.candidate, made.examples, made.status, _dump(made), time.time()),
            )

    def find(self, key: str, kind: Kind = "runs") -> Run | Probe | None:
        """The recorded run or probe of this key, whatever its status."""
        row = self._connection.execute(f"SELECT record FROM {kind} WHERE key = ?", (key,)).fetchone()
        if not (row and row[0]):
            return None
        return self._run(key, row[0]) if kind == "runs" else self._probe(key, row[0])

    def runs(self) -> list[tuple[str, Run]]:
        """All recorded runs with the name of their task, in the order they were claimed.

        Raises:
            InputError: naming the row if one is damaged.
        """
        return [(task, self._run(key, record)) for key, task, record in self._finished("runs")]

    def probes(self) -> list[tuple[str, Probe]]:
        """All recorded probes with the name of their task, in the order they were claimed.

        Raises:
            InputError: naming the row if one is damaged.
        """
        return [(task, self._probe(key, record)) for key, task, record in self._finished("probes")]

    def running(self) -> list[tuple[str, int]]:
        """Candidate and examples of the runs that a living process is making now."""
        rows = self._connection.execute(
            "SELECT candidate, examples, owner_pid, owner_started FROM runs WHERE status = 'running'"
        )
        return [(candidate, examples) for candidate, examples, pid, started in rows if _alive(pid, started)]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _finished(self, kind: Kind) -> list[tuple[str, str, str]]:
        """Key, task and record of everything recorded in this table."""
        return self._connection.execute(
            f"SELECT key, task, record FROM {kind} WHERE record IS NOT NULL ORDER BY rowid"
        ).fetchall()

    def _claim(self, key: str, task: str, candidate: str, examples: int, kind: Kind) -> Run | Probe | bool:
        """The record; or True if the caller now owns the making of it; or False if another process does."""
        with self._writing():
            row = self._connection.execute(
                f"SELECT status, record, owner_pid, owner_started FROM {kind} WHERE key = ?", (key,)
            ).fetchone()
            if row and row[0] == "running" and _alive(row[2], row[3]):
                return False
            if row and row[0] != "running" and row[0] not in RETRIED:
                return self._run(key, row[1]) if kind == "runs" else self._probe(key, row[1])
            me = psutil.Process()
            self._connection.execute(
                f"INSERT OR REPLACE INTO {kind} VALUES (?, ?, ?, ?, 'running', NULL, ?, ?, ?)",
                (key, task, candidate, examples, me.pid, me.create_time(), time.time()),
            )
            return True

    def _record(self, key: str, made: Run | Probe) -> None:
        with self._writing():
            self._connection.execute(
                f"UPDATE {_kind(made)} SET status = ?, record = ?, owner_pid = NULL, owner_started = NULL, updated = ? "
                "WHERE key = ?",
                (made.status, _dump(made), time.time(), key),
            )

    def _run(self, key: str, record: str) -> Run:
        with self._reading(key):
            fields = json.loads(record)
            return Run(**{**fields, "trials": [LearningRateTrial(**trial) for trial in fields["trials"]]})

    def _probe(self, key: str, record: str) -> Probe:
        with self._reading(key):
            return Probe(**json.loads(record))

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self.path}: the record of run {key} is damaged ({error}): delete that row") from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _dump(made: Run | Probe) -> str:
    return json.dumps(asdict(made))


def _kind(made: Run | Probe) -> Kind:
    return "probes" if isinstance(made, Probe) else "runs"


def _alive(pid: int | None, started: float | None) -> bool:
    if pid is None or (pid != os.getpid() and not psutil.pid_exists(pid)):
        return False
    try:
        return psutil.Process(pid).create_time() == started
    except psutil.Error:
        return False
