"""Every run, once, in one SQLite file that survives a kill at any moment."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil

from lensllm.errors import InputError
from lensllm.tuning.run import Run, Trial

VERSION = 1
FILE_NAME = "runs.sqlite"
POLL_SECONDS = 0.2
RETRIED = ("failed",)

SCHEMA = """
CREATE TABLE runs (
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
    """The runs of one output folder.

    A run is claimed before it starts and recorded before the next begins; SQLite's write-ahead log makes both
    durable. A claim holds as long as the process that made it lives, so several processes can share a store and
    none repeats another's work, and a killed process loses only what it was running.

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
                if version == 0:
                    self._connection.execute(SCHEMA)
                    self._connection.execute(f"PRAGMA user_version={VERSION}")
        except (sqlite3.DatabaseError, OSError) as error:
            raise InputError(f"{self.path} cannot be used as a store ({error}): give another output folder") from error
        if version > VERSION:
            raise InputError(f"{self.path} was written by a newer version of lensllm (store {version}): update lensllm")

    def once(self, key: str, task: str, candidate: str, examples: int, make: Callable[[], Run]) -> Run:
        """The finished run of this key, or `make()` if there is none yet, recorded before it is returned.

        While another living process is making it, wait for that one's. A run that failed is made anew; one that
        is done or diverged is not.
        """
        while True:
            found = self._claim(key, task, candidate, examples)
            if isinstance(found, Run):
                return found
            if found:
                run = make()
                self._record(key, run)
                return run
            time.sleep(POLL_SECONDS)

    def put(self, key: str, task: str, run: Run) -> None:
        """Record a run that was made elsewhere, or whose process died before it could record it."""
        with self._writing():
            self._connection.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, ?)",
                (key, task, run.candidate, run.examples, run.status, _dump(run), time.time()),
            )

    def find(self, key: str) -> Run | None:
        """The recorded run of this key, whatever its status."""
        row = self._connection.execute("SELECT record FROM runs WHERE key = ?", (key,)).fetchone()
        return self._load(key, row[0]) if row and row[0] else None

    def runs(self) -> list[tuple[str, Run]]:
        """All recorded runs with the name of their task, in the order they were claimed.

        Raises:
            InputError: naming the row if one is damaged.
        """
        rows = self._connection.execute("SELECT key, task, record FROM runs WHERE record IS NOT NULL ORDER BY rowid")
        return [(task, self._load(key, record)) for key, task, record in rows]

    def running(self) -> list[tuple[str, int]]:
        """Candidate and examples of the runs that a living process is making now."""
        rows = self._connection.execute(
            "SELECT candidate, examples, owner_pid, owner_started FROM runs WHERE status = 'running'"
        )
        return [(candidate, examples) for candidate, examples, pid, started in rows if _alive(pid, started)]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _claim(self, key: str, task: str, candidate: str, examples: int) -> Run | bool:
        """The recorded run; or True if the caller now owns the making of it; or False if another process does."""
        with self._writing():
            row = self._connection.execute(
                "SELECT status, record, owner_pid, owner_started FROM runs WHERE key = ?", (key,)
            ).fetchone()
            if row and row[0] == "running" and _alive(row[2], row[3]):
                return False
            if row and row[0] != "running" and row[0] not in RETRIED:
                return self._load(key, row[1])
            me = psutil.Process()
            self._connection.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, 'running', NULL, ?, ?, ?)",
                (key, task, candidate, examples, me.pid, me.create_time(), time.time()),
            )
            return True

    def _record(self, key: str, run: Run) -> None:
        with self._writing():
            self._connection.execute(
                "UPDATE runs SET status = ?, record = ?, owner_pid = NULL, owner_started = NULL, updated = ? "
                "WHERE key = ?",
                (run.status, _dump(run), time.time(), key),
            )

    def _load(self, key: str, record: str) -> Run:
        try:
            fields = json.loads(record)
            return Run(**{**fields, "trials": [Trial(**trial) for trial in fields["trials"]]})
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


def _dump(run: Run) -> str:
    return json.dumps(asdict(run))


def _alive(pid: int | None, started: float | None) -> bool:
    if pid is None or (pid != os.getpid() and not psutil.pid_exists(pid)):
        return False
    try:
        return psutil.Process(pid).create_time() == started
    except psutil.Error:
        return False
