"""The durable queue: states, leases, fairness, and processes that are killed in the middle."""

from __future__ import annotations

import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from partita.errors import BadDocument, CorruptArtifact, NotFound, StoreUnavailable
from partita.store import Job, JobTable

DIGEST = "ab" * 32


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    opened = JobTable(tmp_path / "jobs.db")
    yield opened
    opened.close()


def ask(table: JobTable, n: int = 0, **options: object) -> Job:
    return table.enqueue("prune", {"n": n}, now=0.0, **options)


def states(table: JobTable, job: Job) -> list[object]:
    return [event.body.get("state") for event in table.events(job.id)]


def test_a_job_goes_from_asked_to_done(table: JobTable) -> None:
    """With its request, its result and each step in its events."""
    job = ask(table, 7)
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


def test_the_same_request_again_is_the_same_job(table: JobTable) -> None:
    """While it waits, while it runs and when it is done; for another tenant it is another."""
    job = ask(table)
    assert ask(table).id == job.id
    table.claim("w", now=1, lease=10)
    assert ask(table).id == job.id
    table.finish(job.id, "w", now=2)

    assert ask(table).state == "done"
    assert ask(table, tenant="other").id != job.id
    assert ask(table, key="mine").id == ask(table, 99, key="mine").id


def test_a_job_that_came_to_nothing_can_be_asked_for_again(table: JobTable) -> None:
    """A cancelled or failed one does not stand in the way."""
    job = ask(table)
    table.cancel(job.id, now=1)

    assert ask(table).id != job.id


def test_a_lease_that_ran_out_gives_the_job_to_another(table: JobTable) -> None:
    """The first owner can change nothing any more."""
    job = ask(table)
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


def test_an_owner_whose_lease_ran_out_has_lost_it_even_if_nobody_took_it(table: JobTable) -> None:
    """The clock decides, not the competition."""
    job = ask(table)
    table.claim("w", now=0, lease=10)

    assert table.heartbeat(job.id, "w", now=10, lease=10) == "lost"


def test_heartbeats_keep_a_job(table: JobTable) -> None:
    """As long as they come in time."""
    job = ask(table)
    table.claim("w", now=0, lease=10)
    for now in range(5, 100, 5):
        assert table.heartbeat(job.id, "w", now=now, lease=10) == "held"
        assert table.claim("other", now=now, lease=10) is None


def test_failed_attempts_come_back_later_and_later_and_end(table: JobTable) -> None:
    """After 2 and 4 seconds, then no more; the last error stays."""
    job = ask(table)
    now = 0.0
    for delay in (2.0, 4.0):
        assert table.claim("w", now=now, lease=99) is not None
        assert table.fail(job.id, "w", "boom", now=now) == "queued"
        assert table.claim("w", now=now + delay - 0.1, lease=99) is None
        now += delay
    assert table.claim("w", now=now, lease=99) is not None

    assert table.fail(job.id, "w", "last", now=now) == "failed"
    assert (table.get(job.id).error, table.get(job.id).finished_at) == ("last", now)


def test_an_error_that_will_not_go_away_is_not_tried_again(table: JobTable) -> None:
    """A bad request stays bad."""
    job = ask(table)
    table.claim("w", now=0, lease=9)

    assert table.fail(job.id, "w", "no such model", now=1, retry=False) == "failed"


def test_workers_that_fall_silent_use_up_attempts(table: JobTable) -> None:
    """A job that kills its workers does not do so for ever."""
    job = ask(table, max_attempts=2)
    for now in (0, 10):
        table.claim("w", now=now, lease=10)

    assert table.expire(now=20) == 1
    assert table.get(job.id).state == "failed"
    assert "fell silent" in (table.get(job.id).error or "")


def test_a_waiting_job_is_cancelled_at_once(table: JobTable) -> None:
    """And cancelling again changes nothing."""
    job = ask(table)

    assert table.cancel(job.id, now=1) == "cancelled"
    assert table.cancel(job.id, now=2) == "cancelled"
    assert table.claim("w", now=3, lease=9) is None


def test_a_running_job_is_told_to_stop(table: JobTable) -> None:
    """At its next heartbeat; it is cancelled when its worker says so."""
    job = ask(table)
    table.claim("w", now=0, lease=9)
    assert not table.stopped(job.id, "w", now=1)

    assert table.cancel(job.id, now=1) == "running"
    assert table.heartbeat(job.id, "w", now=2, lease=9) == "stopping"
    assert table.stopped(job.id, "w", now=3)
    assert table.get(job.id).state == "cancelled"


def test_a_stopping_job_whose_worker_dies_is_cancelled(table: JobTable) -> None:
    """Not started again."""
    job = ask(table)
    table.claim("w", now=0, lease=9)
    table.cancel(job.id, now=1)

    assert table.claim("other", now=9, lease=9) is None
    assert table.get(job.id).state == "cancelled"


def test_tenants_take_turns_however_much_one_asks_for(table: JobTable) -> None:
    """The one with the fewest running goes first, then the one served longest ago."""
    for n in range(6):
        ask(table, n, tenant="greedy", priority=9)
    for n in range(2):
        ask(table, n, tenant="modest")

    order = [job.tenant for _ in range(8) if (job := table.claim("w", now=0, lease=99))]

    assert order[:4] in (["greedy", "modest"] * 2, ["modest", "greedy"] * 2)
    assert order[4:] == ["greedy"] * 4


def test_tenants_take_turns_when_jobs_are_finished_at_once(table: JobTable) -> None:
    """With one worker nothing else is running, and the turn decides."""
    for n in range(3):
        ask(table, n, tenant="a")
        ask(table, n, tenant="b")
    order = []
    for _ in range(6):
        job = table.claim("w", now=0, lease=9)
        assert job is not None
        table.finish(job.id, "w", now=0)
        order.append(job.tenant)

    assert order in (["a", "b"] * 3, ["b", "a"] * 3)


def test_within_a_tenant_priority_goes_before_age(table: JobTable) -> None:
    """Equal priorities in the order they came."""
    for n, priority in enumerate((0, 5, 0, 5)):
        ask(table, n, priority=priority)

    assert [job.request["n"] for _ in range(4) if (job := table.claim("w", now=0, lease=9))] == [1, 3, 0, 2]


def test_workers_take_the_kinds_they_know(table: JobTable) -> None:
    """The others wait for theirs."""
    ask(table)
    table.enqueue("slice", {}, now=0)

    job = table.claim("w", now=0, lease=9, kinds=("slice", "bundle"))

    assert job is not None
    assert job.kind == "slice"
    assert table.claim("w", now=0, lease=9, kinds=("slice",)) is None


def test_events_are_read_from_a_cursor(table: JobTable) -> None:
    """Numbers without gaps; a reader that comes back misses nothing."""
    job = ask(table)
    table.claim("w", now=0, lease=99)
    for n in range(10):
        table.progress(job.id, "w", {"n": n}, now=n)

    first = table.events(job.id, limit=5)
    rest = table.events(job.id, after=first[-1].seq)

    assert [event.seq for event in (*first, *rest)] == list(range(1, 13))


def test_jobs_are_listed_by_tenant_and_state(table: JobTable) -> None:
    """The newest first."""
    one, two = ask(table, 1, tenant="a"), ask(table, 2, tenant="b")
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


def test_what_is_asked_wrongly_is_named(table: JobTable) -> None:
    """No attempts, no such job, a result that is no digest."""
    with pytest.raises(BadDocument, match="max_attempts 0"):
        ask(table, max_attempts=0)
    with pytest.raises(NotFound, match="'nope'"):
        table.get("nope")
    with pytest.raises(NotFound, match="'nope'"):
        table.cancel("nope", now=0)
    with pytest.raises(BadDocument, match="SHA-256"):
        table.finish(ask(table).id, "w", now=0, result="/etc/passwd")


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


def claim_all(path: str, owner: str, start: object) -> list[str]:
    """Claim until nothing is left: runs in a process of its own."""
    table = JobTable(Path(path))
    start.wait(30)  # type: ignore[attr-defined]  # a barrier, typed only in the stubs
    found = []
    while job := table.claim(owner, now=0.0, lease=99.0):
        found.append(job.id)
    table.close()
    return found


def test_four_processes_claim_each_job_exactly_once(tmp_path: Path) -> None:
    """They start together and race for all of them."""
    table = JobTable(tmp_path / "jobs.db")
    ids = sorted(ask(table, n, tenant=f"t{n % 3}").id for n in range(60))
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        start = manager.Barrier(4)
        with context.Pool(4) as pool:
            found = pool.starmap(claim_all, [(str(tmp_path / "jobs.db"), f"w{n}", start) for n in range(4)])

    assert sorted(job for part in found for job in part) == ids
    assert {table.get(job).attempts for job in ids} == {1}
    table.close()


WORKER = """
import sys, time
from pathlib import Path
from partita.store import JobTable
table = JobTable(Path(sys.argv[1]))
job = table.claim("doomed", now=0.0, lease=10.0)
table.progress(job.id, "doomed", {"share": 0.5}, now=1.0)
print(job.id, flush=True)
time.sleep(60)
"""

WRITING = """
import sys
from pathlib import Path
from partita.store import JobTable
table = JobTable(Path(sys.argv[1]))
n = 0
while True:
    job = table.enqueue("prune", {"n": n, "padding": "x" * 20000}, now=float(n))
    print(job.id, flush=True)
    n += 1
"""


def killed_after(script: str, path: Path, lines: int) -> list[str]:
    """Run a process until it has said so many lines, and kill it where it is."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline().strip() for _ in range(lines)]
        finally:
            process.send_signal(signal.SIGKILL)
            said += process.stdout.read().split() if process.stdout else []
    return said


def test_a_job_survives_the_sigkill_of_its_worker(table: JobTable, tmp_path: Path) -> None:
    """Its progress is kept, and another takes it over once the lease has run out, not before."""
    job = ask(table)

    assert killed_after(WORKER, tmp_path / "jobs.db", 1) == [job.id]

    assert table.claim("heir", now=9.0, lease=10) is None
    taken = table.claim("heir", now=10.0, lease=10)
    assert taken is not None
    assert (taken.id, taken.attempts) == (job.id, 2)
    assert [e.body.get("share") for e in table.events(job.id)][2] == 0.5
    assert states(table, job) == ["queued", "running", None, "queued", "running"]


@pytest.mark.parametrize("lines", [3, 17])
def test_a_kill_in_the_middle_of_writing_leaves_the_file_whole(tmp_path: Path, lines: int) -> None:
    """Every job that was acknowledged is there, each with its event, and the file passes SQLite's own check."""
    path = tmp_path / "jobs.db"

    acknowledged = killed_after(WRITING, path, lines)

    table = JobTable(path)
    assert len(acknowledged) >= lines
    assert {table.get(job).state for job in acknowledged} == {"queued"}
    assert all(states(table, job) == ["queued"] for job in table.list(limit=10_000))
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()
    table.close()


class Queue(RuleBasedStateMachine):
    """Any order of calls keeps the rules of the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.table = JobTable(Path(":memory:"))
        self.now = 0.0
        self.ids: list[str] = []

    @rule(n=st.integers(0, 3), tenant=st.sampled_from("ab"), attempts=st.integers(1, 3))
    def enqueue(self, n: int, tenant: str, attempts: int) -> None:
        job = self.table.enqueue("k", {"n": n}, now=self.now, tenant=tenant, max_attempts=attempts)
        self.ids.append(job.id)

    @rule(owner=st.sampled_from("xy"), lease=st.floats(0.5, 5))
    def claim(self, owner: str, lease: float) -> None:
        job = self.table.claim(owner, now=self.now, lease=lease)
        assert job is None or (job.state, job.owner, job.lease_until) == ("running", owner, self.now + lease)

    @rule(seconds=st.floats(0.1, 9))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        data=st.data(),
        owner=st.sampled_from("xy"),
        what=st.sampled_from(["beat", "finish", "fail", "stop", "cancel", "note"]),
    )
    def act(self, data: st.DataObject, owner: str, what: str) -> None:
        if not self.ids:
            return
        job = data.draw(st.sampled_from(self.ids))
        calls = {
            "beat": lambda: self.table.heartbeat(job, owner, now=self.now, lease=2),
            "finish": lambda: self.table.finish(job, owner, now=self.now),
            "fail": lambda: self.table.fail(job, owner, "e", now=self.now),
            "stop": lambda: self.table.stopped(job, owner, now=self.now),
            "cancel": lambda: self.table.cancel(job, now=self.now),
            "note": lambda: self.table.progress(job, owner, {}, now=self.now),
        }
        before = self.table.get(job)
        calls[what]()
        if before.owner != owner or before.state != "running":
            assert what == "cancel" or self.table.get(job) == before

    @invariant()
    def jobs_are_consistent(self) -> None:
        for job in self.table.list(limit=1000):
            assert (job.state == "running") == (job.owner is not None) == (job.lease_until is not None)
            assert (job.finished_at is not None) == (job.state in ("done", "failed", "cancelled"))
            assert job.attempts <= job.max_attempts
            seqs = [event.seq for event in self.table.events(job.id)]
            assert seqs == list(range(1, len(seqs) + 1))

    def teardown(self) -> None:
        self.table.close()


Queue.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestQueue = Queue.TestCase
