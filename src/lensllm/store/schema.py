"""The tables of a store, and how those of older versions become them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time

VERSION = 2
"""1: a table of runs and one of probes, claims by process number in the same rows. 2: one table of records with
checksums, one of claims."""

TABLES = """
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    task TEXT NOT NULL,
    candidate TEXT NOT NULL,
    examples INTEGER NOT NULL,
    status TEXT NOT NULL,
    record TEXT NOT NULL,
    checksum TEXT NOT NULL,
    updated REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS claims (
    key TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    candidate TEXT NOT NULL,
    examples INTEGER NOT NULL,
    token TEXT NOT NULL
);
"""


def checksum(key: str, kind: str, task: str, candidate: str, examples: int, status: str, record: str) -> str:
    """SHA-256 of everything in a row that counts."""
    return hashlib.sha256(json.dumps([key, kind, task, candidate, examples, status, record]).encode()).hexdigest()


def create(connection: sqlite3.Connection) -> None:
    """Make what is missing, in the transaction that is open, and take over what version 1 recorded."""
    for statement in filter(str.strip, TABLES.split(";")):
        connection.execute(statement)
    for table, kind in (("runs", "run"), ("probes", "probe")):
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            continue
        old = connection.execute(
            f"SELECT key, task, candidate, examples, status, record, updated FROM {table} "
            "WHERE record IS NOT NULL ORDER BY rowid"
        ).fetchall()
        for key, task, candidate, examples, status, record, updated in old:
            insert(connection, key, kind, task, candidate, examples, status, record, updated)
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"PRAGMA user_version={VERSION}")


def insert(
    connection: sqlite3.Connection,
    key: str,
    kind: str,
    task: str,
    candidate: str,
    examples: int,
    status: str,
    record: str,
    updated: float | None = None,
) -> None:
    """Record a row, unless one that is done or diverged has its key already; `updated` is now if None."""
    row = (key, kind, task, candidate, examples, status, record)
    connection.execute(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
        "kind = excluded.kind, task = excluded.task, candidate = excluded.candidate, examples = excluded.examples, "
        "status = excluded.status, record = excluded.record, checksum = excluded.checksum, updated = excluded.updated "
        "WHERE records.status NOT IN ('done', 'diverged')",
        (*row, checksum(*row), time.time() if updated is None else updated),
    )
