"""The durable queue: what a job is asked, told and remembered."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from partita.errors import BadDocument, CorruptArtifact, NotFound, StoreUnavailable
from partita.store import Job, JobTable

DIGEST = "ab" * 32


def test_a_job_goes_from_asked_to_done(table: JobTable, ask: Callable[..., Job]) -> None:
    """With its request, its result and each step in its events."""
    job = ask(7)
    claimed = table.claim("w", now=1, lease=10)

    assert claimed is not None
    assert (claimed.id, claimed.request, claimed.attempts, claimed.lease_until) == (job.id, {"n": 7}, 1, 11)
    assert table.progress(job.id, "w", {"share": 0.5}, now=2) == 3
    assert table.finish(job.id, "w", now=3, result=DIGEST)
    done = table.get(job.id)
    assert (done.state, done.result, done.finished_at, done.owner) == ("done", DIGEST, 3, None)
    assert [e.body for e in table.events(job.id, after=2)] == [
        {"share": 0.5},
        {"state": "done", "result": DIGEST},
    ]


def test_the_same_request_again_is_the_same_job(table: JobTable, ask: Callable[..., Job]) -> None:
    """While it waits, while it runs and when it is done; for another tenant it is another."""
    job = ask()
    assert ask().id == job.id
    table.claim("w", now=1, lease=10)
    assert ask().id == job.id
    table.finish(job.id, "w", now=2)

    assert ask().state == "done"
    assert ask(tenant="other").id != job.id
    assert ask(key="mine").id == ask(99, key="mine").id


def test_a_job_that_came_to_nothing_can_be_asked_for_again(table: JobTable, ask: Callable[..., Job]) -> None:
    """A cancelled or failed one does not stand in the way."""
    job = ask()
    table.cancel(job.id, now=1)

    assert ask().id != job.id


def test_workers_take_the_kinds_they_know(table: JobTable, ask: Callable[..., Job]) -> None:
    """The others wait for theirs."""
    ask()
    table.enqueue("slice", {}, now=0)

    job = table.claim("w", now=0, lease=9, kinds=("slice", "bundle"))

    assert job is not None
    assert job.kind == "slice"
    assert table.claim("w", now=0, lease=9, kinds=("slice",)) is None


def test_events_are_read_from_a_cursor(table: JobTable, ask: Callable[..., Job]) -> None:
    """Numbers without gaps; a reader that comes back misses nothing."""
    job = ask()
    table.claim("w", now=0, lease=99)
    for n in range(10):
        table.progress(job.id, "w", {"n": n}, now=n)

    first = table.events(job.id, limit=5)
    rest = table.events(job.id, after=first[-1].seq)

    assert [event.seq for event in (*first, *rest)] == list(range(1, 13))


def test_jobs_are_listed_by_tenant_and_state(table: JobTable, ask: Callable[..., Job]) -> None:
    """The newest first."""
    one, two = ask(1, tenant="a"), ask(2, tenant="b")
    table.cancel(one.id, now=1)

    assert [job.id for job in table.list()] == [two.id, one.id]
    assert [job.id for job in table.list(tenant="a")] == [one.id]
    assert [job.id for job in table.list(state="queued")] == [two.id]


@pytest.mark.parametrize(
    ("request_", "problem"),
    [({"x": object()}, "JSON"), ({"x": float("nan")}, "JSON"), ({"x": "y" * (2 << 20)}, "kept")],
)
def test_requests_that_are_no_small_json_are_refused(
    table: JobTable, request_: dict[str, object], problem: str
) -> None:
    """Data belongs into the store."""
    with pytest.raises(BadDocument, match=problem):
        table.enqueue("prune", request_, now=0)


def test_what_is_asked_wrongly_is_named(table: JobTable, ask: Callable[..., Job]) -> None:
    """No attempts, no such job, a result that is no digest."""
    with pytest.raises(BadDocument, match="max_attempts 0"):
        ask(max_attempts=0)
    with pytest.raises(NotFound, match="'nope'"):
        table.get("nope")
    with pytest.raises(NotFound, match="'nope'"):
        table.cancel("nope", now=0)
    with pytest.raises(BadDocument, match="SHA-256"):
        table.finish(ask().id, "w", now=0, result="/etc/passwd")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    """Garbage, a table of the future, a folder."""
    (tmp_path / "garbage").write_bytes(b"x" * 5000)
    with sqlite3.connect(tmp_path / "future") as future:
        future.execute("PRAGMA user_version = 9")
    future.close()

    with pytest.raises(CorruptArtifact, match="garbage"):
        JobTable(tmp_path / "garbage")
    with pytest.raises(StoreUnavailable, match="version 9"):
        JobTable(tmp_path / "future")
    with pytest.raises(StoreUnavailable):
        JobTable(tmp_path)
