"""A durable queue of jobs in one SQLite file: who asked for what, who works on it, how far it is, what came out.

    queued --claim--> running --finish--> done          running --fail--> queued (later, while attempts are left) | failed
    queued --cancel--> cancelled                        running --cancel--> stopping, seen at the next heartbeat --> cancelled
    running --lease runs out--> queued | failed | cancelled

Three rules. A worker holds a job by a lease that it renews; whoever dies loses it, and another begins again.
Time is an argument (seconds of a clock that all processes share), so that tests and simulations need not wait.
Whoever lost its lease can change nothing any more: all it is told is that it lost.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from ..errors import BadDocument, NotFound
from .base import check_digest
from .jobs_schema import Database

__all__ = ["Job", "JobEvent", "JobState", "JobTable", "Lease"]

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
Lease = Literal["held", "stopping", "lost"]

# A request is a description, not the data: data is an artifact.
MAX_REQUEST = 1 << 20
MAX_EVENT = 64 << 10
# 2, 4, 8 ... seconds, and never more than ten minutes.
_FIRST_DELAY, _LONGEST_DELAY = 2.0, 600.0

# The tenant with the fewest jobs running goes first, then the one served longest ago; within a tenant, priority, then age.
_NEXT = """
SELECT jobs.id, jobs.tenant FROM jobs
LEFT JOIN tenants ON tenants.name = jobs.tenant
LEFT JOIN (SELECT tenant, COUNT(*) AS busy FROM jobs WHERE state = 'running' GROUP BY tenant) AS load
    ON load.tenant = jobs.tenant
WHERE jobs.state = 'queued' AND jobs.ready_at <= ? AND (? IS NULL OR jobs.kind IN (SELECT value FROM json_each(?)))
ORDER BY COALESCE(load.busy, 0), COALESCE(tenants.turn, 0), jobs.priority DESC, jobs.number LIMIT 1
"""


@final
@dataclass(frozen=True, slots=True)
class Job:
    """One job as it was when it was read."""

    id: str
    kind: str
    tenant: str
    priority: int
    request: Mapping[str, Any]
    key: str
    state: JobState
    attempts: int
    max_attempts: int
    owner: str | None
    lease_until: float | None
    stopping: bool
    created_at: float
    finished_at: float | None
    result: str | None  # the digest of an artifact
    error: str | None


@final
@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job. Sequence numbers have no gaps: the last one seen is the cursor."""

    seq: int
    at: float
    body: Mapping[str, Any]


@final
class JobTable:
    """The queue. Any number of processes may open the same file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def enqueue(
        self,
        kind: str,
        request: Mapping[str, Any],
        *,
        now: float,
        tenant: str = "default",
        priority: int = 0,
        key: str | None = None,
        max_attempts: int = 3,
    ) -> Job:
        """Ask for a job. The same request (or the same `key`) of a tenant again gives the job that is there already."""
        text = _document("request", request, MAX_REQUEST)
        if max_attempts < 1:
            raise BadDocument(
                "job", [f"max_attempts {max_attempts} is not at least 1"], fix="allow one attempt"
            )
        once = key if key is not None else hashlib.sha256(text.encode()).hexdigest()
        columns = "id, kind, tenant, priority, request, key, state, max_attempts, ready_at, created_at"
        row = (secrets.token_hex(8), kind, tenant, priority, text, once, "queued", max_attempts, now, now)
        with self._database.change() as db:
            known = db.execute(
                "SELECT * FROM jobs WHERE tenant = ? AND kind = ? AND key = ?"
                " AND state IN ('queued', 'running', 'done')",
                (tenant, kind, once),
            ).fetchone()
            if known:
                return _job(known)
            db.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608  (columns are ours)
            _append(db, row[0], now, {"state": "queued"})
            return _one(db, row[0])

    def claim(
        self, owner: str, *, now: float, lease: float, kinds: tuple[str, ...] | None = None
    ) -> Job | None:
        """Take the next job, fairly across tenants; None if there is none. Exactly one caller gets it."""
        only = None if kinds is None else json.dumps(kinds)
        with self._database.change() as db:
            _expire(db, now)
            found = db.execute(_NEXT, (now, only, only)).fetchone()
            if not found:
                return None
            db.execute(
                "UPDATE jobs SET state = 'running', owner = ?, lease_until = ?, attempts = attempts + 1 WHERE id = ?",
                (owner, now + lease, found["id"]),
            )
            db.execute(
                "INSERT INTO tenants SELECT ?, COALESCE(MAX(turn), 0) + 1 FROM tenants WHERE true"
                " ON CONFLICT (name) DO UPDATE SET turn = excluded.turn",
                (found["tenant"],),
            )
            job = _one(db, found["id"])
            _append(db, job.id, now, {"state": "running", "owner": owner, "attempt": job.attempts})
            return job

    def heartbeat(self, job: str, owner: str, *, now: float, lease: float) -> Lease:
        """Renew the lease; says whether to go on, to stop because of a cancel, or to drop a job that another has now."""
        with self._database.change() as db:
            held = _held(db, job, owner, now)
            if held is None:
                return "lost"
            db.execute("UPDATE jobs SET lease_until = ? WHERE id = ?", (now + lease, job))
            return "stopping" if held.stopping else "held"

    def progress(self, job: str, owner: str, body: Mapping[str, Any], *, now: float) -> int | None:
        """Append an event; gives its sequence number, or None if the lease is lost."""
        _document("event", body, MAX_EVENT)
        with self._database.change() as db:
            return None if _held(db, job, owner, now) is None else _append(db, job, now, body)

    def finish(self, job: str, owner: str, *, now: float, result: str | None = None) -> bool:
        """The job is done, with the digest of its result; False if the lease is lost."""
        digest = None if result is None else check_digest(result)
        with self._database.change() as db:
            if _held(db, job, owner, now) is None:
                return False
            _end(db, job, "done", now, result=digest)
            return True

    def fail(self, job: str, owner: str, error: str, *, now: float, retry: bool = True) -> JobState | None:
        """The attempt failed: queued again with a growing delay while attempts are left. None if the lease is lost."""
        with self._database.change() as db:
            held = _held(db, job, owner, now)
            if held is None:
                return None
            return _again(db, held, error, now, retry=retry, delay=_delay(held.attempts))

    def cancel(self, job: str, *, now: float) -> JobState:
        """Stop a job: at once if nobody works on it, else at its worker's next heartbeat."""
        with self._database.change() as db:
            state = _one(db, job).state
            if state == "queued":
                _end(db, job, "cancelled", now)
                return "cancelled"
            if state == "running":
                db.execute("UPDATE jobs SET stopping = 1 WHERE id = ?", (job,))
                _append(db, job, now, {"stopping": True})
            return state

    def stopped(self, job: str, owner: str, *, now: float) -> bool:
        """The worker has stopped as it was told; False if the lease is lost or nobody asked."""
        with self._database.change() as db:
            held = _held(db, job, owner, now)
            if held is None or not held.stopping:
                return False
            _end(db, job, "cancelled", now)
            return True

    def expire(self, *, now: float) -> int:
        """Take jobs back whose lease ran out; says how many. `claim` does so by itself."""
        with self._database.change() as db:
            return _expire(db, now)

    def get(self, job: str) -> Job:
        """One job; `NotFound` if there is none of that id."""
        rows = self._database.rows("SELECT * FROM jobs WHERE id = ?", (job,))
        if not rows:
            raise _missing(job)
        return _job(rows[0])

    def list(
        self, *, tenant: str | None = None, state: JobState | None = None, limit: int = 100
    ) -> tuple[Job, ...]:
        """The newest jobs first."""
        rows = self._database.rows(
            "SELECT * FROM jobs WHERE (? IS NULL OR tenant = ?) AND (? IS NULL OR state = ?)"
            " ORDER BY number DESC LIMIT ?",
            (tenant, tenant, state, state, limit),
        )
        return tuple(_job(row) for row in rows)

    def events(self, job: str, *, after: int = 0, limit: int = 1000) -> tuple[JobEvent, ...]:
        """What happened after the event of that number, in order."""
        rows = self._database.rows(
            "SELECT seq, at, body FROM events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?",
            (job, after, limit),
        )
        return tuple(JobEvent(row["seq"], row["at"], json.loads(row["body"])) for row in rows)


def _document(what: str, body: Mapping[str, Any], limit: int) -> str:
    try:
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadDocument(
            f"job {what}", [str(error)], fix="give plain JSON: texts, numbers, lists, objects"
        ) from error
    if len(text) > limit:
        fix = "put large data into the store and name its digest"
        raise BadDocument(f"job {what}", [f"has {len(text)} characters, and {limit} are kept"], fix=fix)
    return text


def _delay(attempts: int) -> float:
    return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(attempts - 1, 30))


def _one(db: sqlite3.Connection, job: str) -> Job:
    row = db.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise _missing(job)
    return _job(row)


def _held(db: sqlite3.Connection, job: str, owner: str, now: float) -> Job | None:
    found = _one(db, job)
    alive = found.state == "running" and found.owner == owner and (found.lease_until or 0.0) > now
    return found if alive else None


def _append(db: sqlite3.Connection, job: str, now: float, body: Mapping[str, Any]) -> int:
    (seq,) = db.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM events WHERE job = ?", (job,)).fetchone()
    db.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (job, seq, now, json.dumps(body)))
    return int(seq)


def _end(
    db: sqlite3.Connection,
    job: str,
    state: JobState,
    now: float,
    *,
    result: str | None = None,
    error: str | None = None,
) -> None:
    db.execute(
        "UPDATE jobs SET state = ?, finished_at = ?, result = ?, error = ?, owner = NULL, lease_until = NULL WHERE id = ?",
        (state, now, result, error, job),
    )
    details = {"result": result, "error": error}
    _append(
        db, job, now, {"state": state} | {key: value for key, value in details.items() if value is not None}
    )


def _again(
    db: sqlite3.Connection, job: Job, error: str, now: float, *, retry: bool, delay: float
) -> JobState:
    """After a failed or abandoned attempt: cancelled, queued again, or failed."""
    if job.stopping:
        _end(db, job.id, "cancelled", now)
        return "cancelled"
    if not retry or job.attempts >= job.max_attempts:
        _end(db, job.id, "failed", now, error=error)
        return "failed"
    db.execute(
        "UPDATE jobs SET state = 'queued', ready_at = ?, owner = NULL, lease_until = NULL, error = ? WHERE id = ?",
        (now + delay, error, job.id),
    )
    _append(db, job.id, now, {"state": "queued", "error": error, "retry_in": delay})
    return "queued"


def _expire(db: sqlite3.Connection, now: float) -> int:
    rows = db.execute("SELECT * FROM jobs WHERE state = 'running' AND lease_until <= ?", (now,)).fetchall()
    for row in rows:
        # Another worker begins at once: it was this one's machine that failed, not the job.
        _again(db, _job(row), f"worker {row['owner']} fell silent", now, retry=True, delay=0.0)
    return len(rows)


def _job(row: sqlite3.Row) -> Job:
    fields = {name: row[name] for name in Job.__slots__}
    return Job(**{**fields, "request": json.loads(row["request"]), "stopping": bool(row["stopping"])})


def _missing(job: str) -> NotFound:
    return NotFound(f"job {job[:40]!r} is not in this table", fix="list the jobs to see their ids")
