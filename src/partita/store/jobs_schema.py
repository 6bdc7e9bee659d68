"""How jobs lie in SQLite, and how a file of them is opened.

Two rules. Every change is one transaction that starts with the write lock, so that a check and what follows from it are one.
The log is written ahead (WAL) and synchronised at each commit: what was acknowledged survives `kill -9` and a power cut.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from ..errors import CorruptArtifact, StoreUnavailable

__all__ = ["Database"]

_VERSION = 1
# Longer than any of our transactions takes on an SD card.
_BUSY_SECONDS = 15.0

_SCHEMA = """
CREATE TABLE jobs (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    tenant       TEXT NOT NULL,
    priority     INTEGER NOT NULL,
    request      TEXT NOT NULL,
    key          TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    ready_at     REAL NOT NULL,
    owner        TEXT,
    lease_until  REAL,
    stopping     INTEGER NOT NULL DEFAULT 0,
    created_at   REAL NOT NULL,
    finished_at  REAL,
    result       TEXT,
    error        TEXT
);
-- The same request twice is one job, unless the first one came to nothing.
CREATE UNIQUE INDEX jobs_once ON jobs (tenant, kind, key) WHERE state IN ('queued', 'running', 'done');
CREATE INDEX jobs_open ON jobs (state, tenant, priority DESC, number) WHERE state IN ('queued', 'running');
CREATE TABLE tenants (
    name TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
);
CREATE TABLE events (
    job  TEXT NOT NULL REFERENCES jobs (id),
    seq  INTEGER NOT NULL,
    at   REAL NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
"""


@final
class Database:
    """One connection to a file of jobs. Threads take turns; each process opens its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.RLock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
        try:
            with self._told():
                self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
                self._connection.execute("PRAGMA synchronous = FULL")
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the file stays."""
        self._connection.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its start."""
        with self._turn, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """The rows of one query."""
        with self._turn, self._told():
            return self._connection.execute(query, values).fetchall()

    def _prepare(self) -> None:
        with self.change() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        if version not in (0, _VERSION):
            fix = "update partita, or name another file"
            raise StoreUnavailable(
                f"job table {self.path} has version {version}, this is {_VERSION}", fix=fix
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            fix = "check that the folder can be written and that the disk is not full"
            raise StoreUnavailable(f"job table {self.path}: {error}", fix=fix) from error
        except sqlite3.DatabaseError as error:
            fix = "restore it from a copy, or name another file"
            raise CorruptArtifact(f"job table {self.path}: {error}", fix=fix) from error
