"""Leases, attempts and cancelling: who holds a job, and what becomes of one that nobody holds."""

from __future__ import annotations

from collections.abc import Callable

from partita.store import Job, JobTable


def test_a_lease_that_ran_out_gives_the_job_to_another(table: JobTable, ask: Callable[..., Job]) -> None:
    """The first owner can change nothing any more."""
    job = ask()
    table.claim("slow", now=0, lease=10)

    assert table.claim("other", now=9.9, lease=10) is None
    taken = table.claim("other", now=10, lease=10)

    assert taken is not None
    assert (taken.id, taken.owner, taken.attempts) == (job.id, "other", 2)
    assert table.heartbeat(job.id, "slow", now=11, lease=10) == "lost"
    assert table.progress(job.id, "slow", {}, now=11) is None
    assert not table.finish(job.id, "slow", now=11)
    assert table.fail(job.id, "slow", "late", now=11) is None
    assert not table.stopped(job.id, "slow", now=11)


def test_an_owner_whose_lease_ran_out_has_lost_it_even_if_nobody_took_it(
    table: JobTable, ask: Callable[..., Job]
) -> None:
    """The clock decides, not the competition."""
    job = ask()
    table.claim("w", now=0, lease=10)

    assert table.heartbeat(job.id, "w", now=10, lease=10) == "lost"


def test_heartbeats_keep_a_job(table: JobTable, ask: Callable[..., Job]) -> None:
    """As long as they come in time."""
    job = ask()
    table.claim("w", now=0, lease=10)
    for now in range(5, 100, 5):
        assert table.heartbeat(job.id, "w", now=now, lease=10) == "held"
        assert table.claim("other", now=now, lease=10) is None


def test_failed_attempts_come_back_later_and_later_and_end(table: JobTable, ask: Callable[..., Job]) -> None:
    """After 2 and 4 seconds, then no more; the last error stays."""
    job = ask()
    now = 0.0
    for delay in (2.0, 4.0):
        assert table.claim("w", now=now, lease=99) is not None
        assert table.fail(job.id, "w", "boom", now=now) == "queued"
        assert table.claim("w", now=now + delay - 0.1, lease=99) is None
        now += delay
    assert table.claim("w", now=now, lease=99) is not None

    assert table.fail(job.id, "w", "last", now=now) == "failed"
    assert (table.get(job.id).error, table.get(job.id).finished_at) == ("last", now)


def test_an_error_that_will_not_go_away_is_not_tried_again(table: JobTable, ask: Callable[..., Job]) -> None:
    """A bad request stays bad."""
    job = ask()
    table.claim("w", now=0, lease=9)

    assert table.fail(job.id, "w", "no such model", now=1, retry=False) == "failed"


def test_workers_that_fall_silent_use_up_attempts(table: JobTable, ask: Callable[..., Job]) -> None:
    """A job that kills its workers does not do so for ever."""
    job = ask(max_attempts=2)
    for now in (0, 10):
        table.claim("w", now=now, lease=10)

    assert table.expire(now=20) == 1
    assert table.get(job.id).state == "failed"
    assert "fell silent" in (table.get(job.id).error or "")


def test_a_waiting_job_is_cancelled_at_once(table: JobTable, ask: Callable[..., Job]) -> None:
    """And cancelling again changes nothing."""
    job = ask()

    assert table.cancel(job.id, now=1) == "cancelled"
    assert table.cancel(job.id, now=2) == "cancelled"
    assert table.claim("w", now=3, lease=9) is None


def test_a_running_job_is_told_to_stop(table: JobTable, ask: Callable[..., Job]) -> None:
    """At its next heartbeat; it is cancelled when its worker says so."""
    job = ask()
    table.claim("w", now=0, lease=9)
    assert not table.stopped(job.id, "w", now=1)

    assert table.cancel(job.id, now=1) == "running"
    assert table.heartbeat(job.id, "w", now=2, lease=9) == "stopping"
    assert table.stopped(job.id, "w", now=3)
    assert table.get(job.id).state == "cancelled"


def test_a_stopping_job_whose_worker_dies_is_cancelled(table: JobTable, ask: Callable[..., Job]) -> None:
    """Not started again."""
    job = ask()
    table.claim("w", now=0, lease=9)
    table.cancel(job.id, now=1)

    assert table.claim("other", now=9, lease=9) is None
    assert table.get(job.id).state == "cancelled"
