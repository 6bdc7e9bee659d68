"""The laws of the queue, under any order of calls."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from partita.store import JobTable


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
