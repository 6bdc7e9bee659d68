"""The scheduler, one transition at a time."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from partita.errors import SessionMisused
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


def test_a_lone_request_gets_the_best_exit() -> None:
    s = scheduler()
    s.submit(ask(), 0.0)
    (answer,) = run(s)

    assert (answer.outcome, answer.exit, answer.in_time, answer.degraded) == ("answered", 2, True, False)


def test_an_answer_says_what_it_is_worth_and_what_it_cost() -> None:
    s = scheduler()
    s.submit(ask(), 0.0)
    (answer,) = run(s, confidence=0.7)

    assert answer.expected_accuracy == 0.95
    assert answer.confidence == 0.7
    assert answer.joules == 3.0
    assert answer.ran == pytest.approx(0.03)
    assert answer.waited == pytest.approx(0.0)


def test_without_work_there_is_no_batch() -> None:
    assert scheduler().next(0.0) is None
    assert scheduler().due == inf


def test_the_earliest_deadline_runs_first() -> None:
    s = scheduler(max_batch=1)
    for key, deadline in enumerate((0.9, 0.5, 0.7)):
        s.submit(ask(key, deadline), 0.0)

    assert batch_of(s).requests[0].key == 1


def test_requests_for_one_stage_share_a_batch_as_large_as_pays() -> None:
    times = {1: 0.01, 2: 0.012, 4: 0.016, 8: 0.032}
    cheap = ExitProfile("net", (ExitCost("e", accuracy=0.9),), (StageTime(times, times),))
    s = Scheduler(cheap)
    fill(s, 6)

    assert len(batch_of(s).members) == 4


def test_batches_that_save_nothing_have_one_member() -> None:
    s = scheduler()
    fill(s, 3)

    assert len(batch_of(s).members) == 1


def test_survivors_of_different_batches_meet_again() -> None:
    times = {1: 0.010, 2: 0.011, 4: 0.013, 8: 0.014}
    stage = StageTime(times, times)
    profile = ExitProfile("net", network().exits[:2], (stage, stage))
    s = Scheduler(profile, settings=Settings(max_batch=8))
    s.submit(ask("a", 2.0), 0.0)
    first = batch_of(s)
    s.submit(ask("b", 1.0), 0.0)
    s.done(first, [0.2], 0.01)
    second = batch_of(s, 0.01)
    s.done(second, [0.2], 0.02)
    third = batch_of(s, 0.02)

    assert [r.key for r in second.requests] == ["b"]
    assert (third.first, {r.key for r in third.requests}) == (1, {"a", "b"})


def test_a_confident_answer_leaves_where_thresholds_are_on() -> None:
    s = scheduler(thresholds=True)
    s.submit(ask(), 0.0)
    (answer,) = run(s, confidence=0.95)

    assert (answer.exit, answer.degraded) == (0, False)
    assert "reaches its threshold 0.900" in answer.reason


def test_thresholds_are_off_unless_asked_for() -> None:
    s = scheduler()
    s.submit(ask("plain"), 0.0)
    s.submit(ask("eager", thresholds=True), 0.0)
    exits = {a.request.key: a.exit for a in run(s, confidence=0.95)}

    assert exits == {"plain": 2, "eager": 0}


def test_a_confident_answer_stays_below_its_floor() -> None:
    s = scheduler(thresholds=True)
    s.submit(ask(min_exit=1), 0.0)

    assert run(s, confidence=0.95)[0].exit == 1


def test_who_waited_too_long_expires() -> None:
    s = scheduler()
    s.submit(ask(deadline=0.1), 0.0)

    assert s.due == pytest.approx(0.09)
    assert s.expire(0.09) == []
    assert [a.outcome for a in s.expire(0.2)] == ["expired"]


def test_an_answer_in_hand_is_given_when_the_next_stage_would_be_late() -> None:
    s = scheduler()
    s.submit(ask(deadline=0.03), 0.0)
    (answer,) = s.done(batch_of(s), [0.5], 0.019)

    assert (answer.exit, answer.in_time, answer.degraded) == (0, True, True)
    assert "no time for exit e1" in answer.reason


def test_an_answer_in_hand_does_not_wait_behind_a_batch_it_cannot_outlast() -> None:
    # Ten milliseconds mostly, twenty at worst.
    stage = StageTime({1: 0.01}, {1: 0.02})
    s = Scheduler(ExitProfile("net", network().exits, (stage,) * 3), calibration())
    s.submit(ask("held", 0.040), 0.0)
    held = batch_of(s)
    s.submit(ask("urgent", 0.039), 0.0)
    s.done(held, [0.2], 0.012)
    batch = batch_of(s, 0.012)
    (given,) = s.expire(0.012)

    assert batch.requests[0].key == "urgent"
    assert (given.request.key, given.exit, given.in_time) == ("held", 0, True)
    assert "no time for exit e1" in given.reason


def test_stage_times_are_learned_from_what_workers_report() -> None:
    s = scheduler()
    before = s.prices.seconds[0][0]
    for i in range(40):
        s.submit(ask(max_exit=0), float(i))
        s.done(batch_of(s, float(i)), [0.5], i + 0.02)

    assert s.prices.seconds[0][0] > 1.5 * before


def test_a_worker_that_fails_loses_no_answer_in_hand() -> None:
    s = scheduler()
    s.submit(ask("new"), 0.0)
    none = s.failed(batch_of(s), 0.01)
    s.submit(ask("old"), 0.1)
    s.done(batch_of(s, 0.1), [0.5], 0.11)
    held = s.failed(batch_of(s, 0.11), 0.12)

    assert [a.outcome for a in none] == ["failed"]
    assert [(a.outcome, a.exit) for a in held] == [("answered", 0)]


def test_two_workers_run_two_batches() -> None:
    s = scheduler(workers=2)
    fill(s, 2)
    a, b = s.next(0.0, 0), s.next(0.0, 1)

    assert a is not None
    assert b is not None
    assert (a.worker, b.worker) == (0, 1)


def test_a_batch_is_reported_once() -> None:
    s = scheduler()
    s.submit(ask(), 0.0)
    batch = batch_of(s)
    s.done(batch, [0.5], 0.01)

    with pytest.raises(SessionMisused, match="not running"):
        s.done(batch, [0.5], 0.02)


def test_a_report_has_one_confidence_per_member() -> None:
    s = scheduler()
    s.submit(ask(), 0.0)
    batch = batch_of(s)

    with pytest.raises(SessionMisused, match="0 confidences for a batch of 1"):
        s.done(batch, [], 0.01)
    assert s.done(batch, [0.5], 0.01) == []


def test_revised_settings_meet_who_waits_and_who_runs() -> None:
    s = scheduler(thresholds=True)
    s.submit(ask("runs"), 0.0)
    batch = batch_of(s)
    s.submit(ask("waits"), 0.0)
    s.done(batch, [0.2], 0.01)
    running = batch_of(s, 0.01)
    s.revise(0.01, calibration=calibration((0.1, 0.1, 0.0)))
    answers = s.done(running, [0.3] * len(running.members), 0.02) + run(s, 0.02)

    assert {a.request.key for a in answers} == {"runs", "waits"}
    assert all(a.outcome == "answered" and a.exit in (0, 1) for a in answers)


def test_revised_tenants_and_settings_replace_the_old_ones() -> None:
    s = scheduler((Tenant("a"),), workers=2)
    s.revise(0.0, tenants=(Tenant("b", weight=3.0),), settings=Settings(margin=1.5))

    assert [t.name for t in s.tenants.declared] == ["b"]
    assert (s.settings.margin, s.settings.workers) == (1.5, 2)


def test_a_waiting_answer_leaves_at_once_where_revised_thresholds_allow_it() -> None:
    s = scheduler(thresholds=True)
    s.submit(ask(), 0.0)
    s.done(batch_of(s), [0.6], 0.01)
    s.revise(0.01, calibration=calibration((0.5, 0.5, 0.0)))

    assert [a.exit for a in s.expire(0.01)] == [0]


def test_without_calibration_the_accuracies_of_the_profile_decide() -> None:
    s = Scheduler(network())
    s.submit(ask(), 0.0)
    (answer,) = run(s)

    assert (answer.exit, answer.expected_accuracy) == (2, 0.9)


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("nan")])
def test_a_deadline_that_is_no_time_is_refused(deadline: float) -> None:
    s = scheduler()

    assert isinstance(s.submit(ask(deadline=deadline), 0.0), Rejected)
    assert len(s.queue) == 0
