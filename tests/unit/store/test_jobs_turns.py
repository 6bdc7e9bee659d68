"""Whose turn it is: tenants share the workers, priorities order the jobs of one tenant."""

from __future__ import annotations

from collections.abc import Callable

from partita.store import Job, JobTable


def test_tenants_take_turns_however_much_one_asks_for(table: JobTable, ask: Callable[..., Job]) -> None:
    """The one with the fewest running goes first, then the one served longest ago."""
    for n in range(6):
        ask(n, tenant="greedy", priority=9)
    for n in range(2):
        ask(n, tenant="modest")

    order = [job.tenant for _ in range(8) if (job := table.claim("w", now=0, lease=99))]

    assert order[:4] in (["greedy", "modest"] * 2, ["modest", "greedy"] * 2)
    assert order[4:] == ["greedy"] * 4


def test_tenants_take_turns_when_jobs_are_finished_at_once(table: JobTable, ask: Callable[..., Job]) -> None:
    """With one worker nothing else is running, and the turn decides."""
    for n in range(3):
        ask(n, tenant="a")
        ask(n, tenant="b")
    order = []
    for _ in range(6):
        job = table.claim("w", now=0, lease=9)
        assert job is not None
        table.finish(job.id, "w", now=0)
        order.append(job.tenant)

    assert order in (["a", "b"] * 3, ["b", "a"] * 3)


def test_within_a_tenant_priority_goes_before_age(table: JobTable, ask: Callable[..., Job]) -> None:
    """Equal priorities in the order they came."""
    for n, priority in enumerate((0, 5, 0, 5)):
        ask(n, priority=priority)

    assert [job.request["n"] for _ in range(4) if (job := table.claim("w", now=0, lease=9))] == [1, 3, 0, 2]
