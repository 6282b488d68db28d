"""Every record, once, in one SQLite file that survives a kill at any moment."""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

from lensllm.errors import DamagedRecord, StoreError
from lensllm.records import FINAL, Record
from lensllm.store.locks import Locks, network_file_system
from lensllm.store.schema import VERSION, checksum, create, insert

FILE_NAME = "runs.sqlite"
PATIENCE = 60
"""Seconds to wait for another process's transaction, which takes milliseconds."""

Kind = TypeVar("Kind", bound=Record)
Row = tuple[str, str, str, str, int, str, str, str, float]
"""Key, kind, task, candidate, examples, status, record, checksum and when it was recorded."""


@dataclass(frozen=True)
class Listed(Generic[Kind]):
    """A record with what the store knows of it.

    Attributes:
        key: of its settings, data and candidate.
        task: its name.
        record: what was written.
        recorded: when, in seconds since 1970.
    """

    key: str
    task: str
    record: Kind
    recorded: float


class Store:
    """The records of one output folder.

    A record that is done or diverged is never replaced, and each has a checksum. Several processes can share a store:
    what one has claimed no other makes, until it is recorded or that process is gone. On a network file system, where
    locks may not reach other machines, a store belongs to one process at a time, and says so.

    Args:
        folder: holds `runs.sqlite`; made if it does not exist.
        readonly: open for reading alone, also on a disk that cannot be written to.

    Raises:
        StoreError: if the file is damaged, cannot be written, or was written by a newer version.

    >>> import tempfile
    >>> from lensllm.tuning.run import Run
    >>> store = Store(tempfile.mkdtemp())
    >>> store.put("some key", "my task", Run("gpt2", 50, "done", nats_per_byte=1.2))
    >>> store.put("some key", "my task", Run("gpt2", 50, "failed", error="too late"))
    >>> store.find("some key", Run).status
    'done'
    >>> store.close()
    """

    def __init__(self, folder: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(folder) / FILE_NAME
        self._locks = Locks(Path(f"{self.path}.locks"))
        self._alone: Locks | None = None
        with self._sentence("cannot be used as a store", "give another output folder"):
            self._connection = self._read_only() if readonly else self._open()
            self._check_whole()
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if found > VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer version of lensllm (store {found}): update lensllm", self.path
                )
            if found < VERSION:
                with self._writing():
                    create(self._connection)
        if not readonly and (kind := network_file_system(self.path.parent)):
            self._take_alone(kind)

    def find(self, key: str, record_type: type[Kind]) -> Kind | None:
        """The record of this key, whatever its status; None if there is none.

        Raises:
            DamagedRecord: if it is not what was written.
        """
        rows = self._rows("WHERE key = ?", (key,), record_type)
        return self._decoded(rows[0], record_type) if rows else None

    def records(self, record_type: type[Kind]) -> list[tuple[str, Kind]]:
        """All records of a kind with the name of their task, in the order they were recorded.

        Raises:
            DamagedRecord: naming the first that is not what was written.
        """
        return [(one.task, one.record) for one in self.listed(record_type)]

    def listed(self, record_type: type[Kind]) -> list[Listed[Kind]]:
        """All records of a kind with what the store knows of them, in the order they were recorded.

        Raises:
            DamagedRecord: naming the first that is not what was written.
        """
        rows = self._rows("ORDER BY rowid", (), record_type)
        return [Listed(row[0], row[2], self._decoded(row, record_type), row[8]) for row in rows]

    def put(self, key: str, task: str, record: Record) -> None:
        """Record, and end this process's claim; what is done or diverged already stays as it is."""
        with self._sentence("cannot be written", "free some space or give another output folder"), self._writing():
            fields = json.dumps(record.to_dict())
            row = (key, record.kind, task, record.candidate, record.examples, record.status, fields)
            insert(self._connection, *row)
            self._connection.execute("DELETE FROM claims WHERE key = ?", (key,))

    def claim(self, key: str, task: str, candidate: str, examples: int) -> bool:
        """Whether this process may make what the key stands for: nobody else who lives is making it, or has made it."""
        with self._sentence("cannot be written", "free some space or give another output folder"), self._writing():
            made = self._connection.execute("SELECT status FROM records WHERE key = ?", (key,)).fetchone()
            if made and made[0] in FINAL:
                return False
            row = self._connection.execute("SELECT token FROM claims WHERE key = ?", (key,)).fetchone()
            token = self._locks.hold()
            if row and row[0] != token and self._locks.alive(row[0]):
                return False
            claim = (key, task, candidate, examples, token)
            self._connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", claim)
            return True

    def running(self) -> list[tuple[str, int]]:
        """Candidate and examples of what a living process has claimed."""
        with self._sentence("cannot be read", "delete the file to begin anew"):
            rows = self._connection.execute("SELECT candidate, examples, token FROM claims").fetchall()
        return [(candidate, examples) for candidate, examples, token in rows if self._locks.alive(token)]

    def close(self) -> None:
        """Close the file and give up what was claimed."""
        self._connection.close()
        self._locks.release()
        if self._alone is not None:
            self._alone.release()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        with suppress(sqlite3.OperationalError):  # version 1 kept a write-ahead log, and one of its processes lives
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _read_only(self) -> sqlite3.Connection:
        """A copy in memory, so that neither the file nor its folder is touched."""
        with self.path.open("rb") as file:
            keeps_log = file.read(19)[18:] == b"\x02"  # version 1's; a log that is not there was closed well
        closed = keeps_log and not Path(f"{self.path}-wal").exists()
        try:
            return _in_memory(f"{self.path.resolve().as_uri()}?mode=ro{'&immutable=1' if closed else ''}")
        except sqlite3.OperationalError:
            journal = Path(f"{self.path}-journal")
            if not journal.exists():
                raise
            with TemporaryDirectory() as folder:  # somebody died while writing; what was begun is undone in a copy
                for one in (self.path, journal):
                    shutil.copy(one, folder)
                return _in_memory((Path(folder) / FILE_NAME).as_uri())

    def _check_whole(self) -> None:
        """Find rows that damage has taken away: every key stands in the table and in its index."""
        found = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreError(
                f"{self.path} is damaged ({' '.join(found.split())}): restore it, or give another output folder",
                self.path,
            )

    def _take_alone(self, kind: str) -> None:
        self._alone = Locks(Path(f"{self.path}.alone"))
        self._alone.token = "process"
        if self._alone.alive("process"):
            raise StoreError(
                f"{self.path} lies on {kind}, where several processes cannot share a store, and another one uses it: "
                "wait for it, or give an output folder on a local disk",
                self.path,
            )
        self._alone.hold()
        warnings.warn(
            f"{self.path} lies on {kind}: no other machine may use this output folder at the same time", stacklevel=3
        )

    def _rows(self, where: str, values: tuple[str, ...], record_type: type[Kind]) -> list[Row]:
        """Those of a kind; the checksum is looked at first, since a damaged kind would hide its row."""
        with self._sentence("cannot be read", "delete the file to begin anew"):
            columns = "key, kind, task, candidate, examples, status, record, checksum, updated"
            rows: list[Row] = self._connection.execute(f"SELECT {columns} FROM records {where}", values).fetchall()
        for row in rows:
            if checksum(*row[:7]) != row[7]:
                raise self._damaged(row[0], "its checksum is another one")
        return [row for row in rows if row[1] == record_type.kind]

    def _decoded(self, row: Row, record_type: type[Kind]) -> Kind:
        try:
            return record_type.from_dict(json.loads(row[6]))
        except (ValueError, TypeError) as error:
            raise self._damaged(row[0], str(error)) from error

    def _damaged(self, key: str, why: str) -> DamagedRecord:
        told = f"{self.path}: the record of run {key} is damaged ({why}): delete that row"
        return DamagedRecord(told, self.path, key)

    @contextmanager
    def _sentence(self, what: str, remedy: str) -> Iterator[None]:
        """SQLite's errors, and the disk's, as one sentence."""
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            why = " ".join(str(error).split())
            raise StoreError(f"{self.path} {what} ({why}): {remedy}", self.path) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _in_memory(address: str) -> sqlite3.Connection:
    """A copy of a database."""
    with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as source:
        copy = sqlite3.connect(":memory:", isolation_level=None)
        source.backup(copy)
    return copy
