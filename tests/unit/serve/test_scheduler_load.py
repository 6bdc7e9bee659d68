"""The scheduler under load: who gives what, who is refused, and what is never given up."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from partita.errors import BadDocument
from partita.serve import Bounds, Calibration, ExitCost, ExitProfile, StageTime
from partita.serve.scheduler import Scheduler
from partita.serve.scheduler_orders import Admitted, Answer, Batch, Rejected, Request, Settings, Tenant

ACCURACY = (0.6, 0.8, 0.9)


def seconds(each: float) -> StageTime:
    times = {b: each * b for b in (1, 2, 4)}
    return StageTime(times, {b: 1.1 * t for b, t in times.items()})


def network(*, spans: bool = False, joules: bool = True) -> ExitProfile:
    """Three exits, ten milliseconds a stage; batches save nothing."""
    exits = tuple(
        ExitCost(f"e{k}", accuracy=a, joules=1.0 + k if joules else None) for k, a in enumerate(ACCURACY)
    )
    fused = {"0-1": seconds(0.02), "0-2": seconds(0.03), "1-2": seconds(0.02)} if spans else {}
    return ExitProfile("net", exits, (seconds(0.01),) * 3, fused)


def calibration(thresholds: tuple[float, ...] = (0.9, 0.9, 0.0)) -> Calibration:
    """Two bins: who is sure at an exit gains nothing from the next ones, who is not gains much."""
    worth = tuple(
        (tuple(max(0.1, a - 0.3) if e <= k else a for e, a in enumerate(ACCURACY)), (0.95,) * 3)
        for k in range(3)
    )
    return Calibration((0.5,), worth, ACCURACY, thresholds, (1.0,) * 3, 1000)


def scheduler(tenants: tuple[Tenant, ...] = (), *, spans: bool = False, **settings: Any) -> Scheduler:
    return Scheduler(network(spans=spans), calibration(), tenants=tenants, settings=Settings(**settings))


def ask(key: object = 0, deadline: float | None = 1.0, **more: Any) -> Request:
    bounds = {name: more.pop(name) for name in tuple(more) if name in Bounds.__slots__}
    return Request(key, Bounds(deadline, **bounds), **more)


def fill(s: Scheduler, count: int, now: float = 0.0, **more: Any) -> list[Admitted | Rejected]:
    return [s.submit(ask(i, **more), now) for i in range(count)]


def batch_of(s: Scheduler, now: float = 0.0) -> Batch:
    batch = s.next(now)
    assert batch is not None
    return batch


def run(s: Scheduler, now: float = 0.0, confidence: float = 0.2) -> list[Answer]:
    """Serve to the end, each batch in the time predicted."""
    answers = s.expire(now)
    while (batch := s.next(now)) is not None:
        answers += s.expire(now)
        now += batch.seconds
        answers += s.done(batch, [confidence] * len(batch.members), now)
    return answers + s.expire(now)


def test_stages_are_fused_while_nothing_presses() -> None:
    s = scheduler(spans=True)
    s.submit(ask(), 0.0)
    batch = batch_of(s)

    assert (batch.first, batch.last) == (0, 2)


def test_stages_are_not_fused_where_a_confident_answer_may_leave() -> None:
    s = scheduler(spans=True, thresholds=True)
    s.submit(ask(), 0.0)

    assert batch_of(s).last == 0


def test_a_fused_run_never_blocks_longer_than_half_the_shortest_deadline() -> None:
    s = scheduler(spans=True)
    s.submit(ask(deadline=0.055), 0.0)

    assert batch_of(s).last == 1


def test_under_load_answers_leave_early_and_all_are_in_time() -> None:
    s = scheduler()
    fill(s, 20, deadline=0.35)
    answers = run(s)

    assert len(answers) == 20
    assert all(a.in_time for a in answers)
    assert any(a.degraded for a in answers)


def test_the_reason_of_an_early_answer_names_gain_time_and_price() -> None:
    s = scheduler()
    fill(s, 20, deadline=0.35)
    early = [a.reason for a in run(s) if "would add" in a.reason]

    assert early
    assert "ms" in early[0]


def test_the_price_rises_with_the_queue_and_falls_without() -> None:
    s = scheduler()
    idle = s.price
    fill(s, 20, deadline=0.35)
    s.next(0.0)
    pressed = s.price
    run(s, 10.0)
    s.next(20.0)

    assert idle == 0
    assert pressed > 0
    assert s.price == 0


def test_sure_samples_pay_with_depth_before_unsure_ones() -> None:
    s = scheduler()
    fill(s, 12, deadline=0.24)
    now, depth = 0.0, {0.2: [], 0.8: []}
    while (batch := s.next(now)) is not None:
        now += batch.seconds
        confidences = [0.8 if r.key % 2 else 0.2 for r in batch.requests]  # type: ignore[operator]
        for a in s.done(batch, confidences, now):
            depth[a.confidence or 0].append(a.exit)

    assert max(depth[0.8]) < max(depth[0.2])


def test_what_cannot_be_in_time_is_refused_at_once() -> None:
    refused = scheduler().submit(ask(deadline=0.005), 0.0)

    assert isinstance(refused, Rejected)
    assert refused.retry_after == inf
    assert "exit e0" in refused.reason


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    met = fill(scheduler(), 30, deadline=0.2)
    refused = [m for m in met if isinstance(m, Rejected)]

    assert isinstance(met[0], Admitted)
    assert refused
    assert all(0 < r.retry_after < 1 for r in refused)


def test_who_comes_while_a_batch_runs_waits_for_its_end() -> None:
    s = scheduler()
    s.submit(ask(), 0.0)
    batch_of(s)
    refused = s.submit(ask(deadline=0.02), 0.0)

    assert isinstance(refused, Rejected)
    assert refused.retry_after < 0.01


def test_the_number_waiting_is_bounded() -> None:
    met = fill(scheduler(most_waiting=2), 3, deadline=None)

    assert [type(m) for m in met] == [Admitted, Admitted, Rejected]


def test_contradictory_bounds_are_refused_for_good() -> None:
    refused = scheduler().submit(ask(min_exit=2, max_exit=1), 0.0)

    assert refused == Rejected("max_exit 1 lies before min_exit 2", inf)


def test_floors_give_way_for_requests_that_may_degrade() -> None:
    s = scheduler()
    met = s.submit(ask(deadline=0.02, min_exit=2), 0.0)
    (answer,) = run(s)

    assert met == Admitted(0, 2, degraded=True)
    assert (answer.outcome, answer.degraded) == ("answered", True)
    assert "floor, exit e2, was out of reach" in answer.reason


def test_floors_hold_for_requests_that_rather_be_refused() -> None:
    met = scheduler().submit(ask(deadline=0.02, min_exit=2, infeasible="reject"), 0.0)

    assert isinstance(met, Rejected)


def test_best_effort_is_answered_late_rather_than_refused() -> None:
    s = scheduler()
    met = s.submit(ask(deadline=0.02, min_exit=2, infeasible="best_effort"), 0.0)
    (answer,) = run(s)

    assert isinstance(met, Admitted)
    assert (answer.outcome, answer.exit, answer.in_time) == ("answered", 2, False)


def test_a_floor_that_came_too_late_expires_where_floors_are_hard() -> None:
    s = scheduler()
    s.submit(ask(deadline=0.06, min_exit=2, infeasible="reject"), 0.0)
    answers = s.done(batch_of(s), [0.5], 0.055)

    assert [(a.outcome, a.exit) for a in answers] == [("expired", None)]
    assert "too late for exit e2" in answers[0].reason


def test_an_answer_below_the_floor_is_given_where_floors_may_give_way() -> None:
    s = scheduler()
    s.submit(ask(deadline=0.06, min_exit=2), 0.0)
    (answer,) = s.done(batch_of(s), [0.5], 0.055)

    assert (answer.outcome, answer.exit, answer.in_time, answer.degraded) == ("answered", 0, True, True)


def test_best_effort_goes_on_after_its_deadline() -> None:
    s = scheduler()
    s.submit(ask(deadline=0.06, min_exit=2, infeasible="best_effort"), 0.0)

    assert s.done(batch_of(s), [0.5], 0.055) == []
    assert run(s, 0.055)[0].exit == 2


def test_a_late_answer_widens_the_margin_and_one_in_time_narrows_it() -> None:
    s = scheduler()
    s.submit(ask(deadline=0.1, max_exit=0), 0.0)
    s.done(batch_of(s), [0.5], 0.2)
    wide = s.margin
    s.submit(ask(deadline=0.1, max_exit=0), 1.0)
    s.done(batch_of(s, 1.0), [0.5], 1.01)

    assert wide == pytest.approx(1.25 * 1.03)
    assert 1.25 < s.margin < wide


def test_the_greediest_tenant_makes_room_for_the_others() -> None:
    s = scheduler((Tenant("polite"), Tenant("rude")))
    s.submit(ask("p", 0.5, tenant="polite"), 0.0)
    fill(s, 40, now=0.1, deadline=0.2, tenant="rude")
    met = s.submit(ask("p2", 0.2, tenant="polite"), 0.1)
    pushed = s.expire(0.1)

    assert isinstance(met, Admitted)
    assert [(a.outcome, a.request.tenant) for a in pushed] == [("rejected", "rude")]
    assert "furthest over its share" in pushed[0].reason


def test_over_share_requests_lose_depth_first() -> None:
    s = scheduler((Tenant("polite"), Tenant("rude")))
    s.submit(ask("p0", 0.4, tenant="polite"), 0.0)
    for i in range(20):
        s.submit(ask(i, 0.4, tenant="rude"), 0.05)
    s.submit(ask("p1", 0.4, tenant="polite"), 0.1)
    answers = run(s, 0.1)
    exits = {name: [a.exit for a in answers if a.request.tenant == name] for name in ("polite", "rude")}

    assert exits["polite"] == [2, 2]
    assert min(e for e in exits["rude"] if e is not None) == 0


def test_noise_that_breaks_every_plan_sheds_the_fewest() -> None:
    s = scheduler()
    fill(s, 12, deadline=0.16)
    now, answers = 0.0, []
    batch = s.next(now)
    while batch is not None:
        now += 0.08 if now == 0 else batch.seconds
        answers += s.done(batch, [0.2] * len(batch.members), now)
        batch = s.next(now)
        answers += s.expire(now)
    ends = [a.outcome for a in answers]

    assert len(ends) == 12
    assert ends.count("rejected") + ends.count("expired") <= 5
    assert all(a.in_time for a in answers if a.outcome == "answered")


def test_a_shed_request_loses_its_floor_before_its_place() -> None:
    s = scheduler()
    fill(s, 4, deadline=0.16, min_exit=2)
    batch = batch_of(s)
    s.done(batch, [0.2], 0.06)
    answers = run(s, 0.06)

    assert {a.outcome for a in answers} == {"answered"}
    assert any((a.exit or 0) < 2 for a in answers)


def test_scarce_joules_make_answers_shallower() -> None:
    s = scheduler(joules_per_second=1.0, energy_window=20.0)
    exits, now = [], 0.0
    for i in range(60):
        now = 0.2 * i
        s.submit(ask(i, 0.15), now)
        exits += [a.exit for a in run(s, now)]

    assert exits[0] == 2
    assert 0 in exits


def test_without_joules_requests_are_refused_until_there_are_some() -> None:
    s = scheduler((Tenant("t", joules_per_second=0.5),), energy_window=1.0)
    s.submit(ask(tenant="t"), 0.0)
    run(s)
    refused = s.submit(ask(tenant="t", min_exit=1), 0.1)

    assert isinstance(refused, Rejected)
    assert refused.reason == "the joules allowed are spent"
    assert refused.retry_after > 0.5
    assert isinstance(s.submit(ask(tenant="other"), 0.1), Admitted)


def test_settings_that_cannot_be_meant_are_refused_together() -> None:
    with pytest.raises(BadDocument) as raised:
        Settings(workers=0, margin=0.5, memory=0.0)

    assert len(raised.value.problems) == 3


def test_who_is_in_runs_although_the_margin_is_gone() -> None:
    s = scheduler()
    s.submit(ask(deadline=0.05), 0.0)
    batch = batch_of(s, 0.039)

    assert s.expire(0.039) == []
    assert [r.key for r in batch.requests] == [0]


def test_an_arrival_pushes_out_only_a_few_and_is_refused_if_that_is_not_enough() -> None:
    s = scheduler((Tenant("polite"), Tenant("rude")))
    s.submit(ask("p", 5.0, tenant="polite"), 0.0)
    fill(s, 16, now=0.1, deadline=0.2, tenant="rude", infeasible="reject")
    fill(s, 16, now=0.1, deadline=0.2, tenant="rude", infeasible="reject", min_exit=2)
    s.submit(ask("late", 0.18, tenant="polite", min_exit=2, infeasible="reject"), 0.1)
    pushed = [a.request.tenant for a in s.expire(0.1)]

    assert pushed
    assert len(pushed) <= 4
    assert set(pushed) == {"rude"}


def test_trouble_ahead_does_not_keep_out_who_comes_behind() -> None:
    s = scheduler()
    fill(s, 30, deadline=0.3, infeasible="reject")

    # The worker stood still for a while: those before it cannot all be in time any more.
    assert isinstance(s.submit(ask("patient", 5.0), 0.1), Admitted)
    assert s.expire(0.1) == []


def test_members_that_all_pass_an_exit_skip_it_together() -> None:
    times = {1: 0.010, 2: 0.011, 4: 0.022}
    stage = StageTime(times, times)
    profile = ExitProfile("net", network().exits[:2], (stage, stage), {"0-1": stage})
    s = Scheduler(profile)
    fill(s, 2)
    batch = batch_of(s)

    assert (batch.last, len(batch.members)) == (1, 2)
