"""Counting outcomes."""

from __future__ import annotations

from typing import Any

from partita.serve.arrivals import Arrival
from partita.serve.scheduler_orders import Answer, Request
from partita.serve.simulate_report import Outcome, report, tally


def answered(time: float, at: float, *, right: bool, exit_: int = 1, **more: Any) -> Outcome:
    joules = more.pop("joules", 2.0)
    answer = Answer(Request(0), "answered", "why", at, exit=exit_, in_time=at <= time + 1, joules=joules)
    return Outcome(Arrival(time, **more), "answered", at, answer, right)


def test_shares_are_of_everything_asked_and_accuracy_of_what_was_answered() -> None:
    refused = Outcome(Arrival(0.0), "rejected", 0.0)
    found = tally([answered(0.0, 0.5, right=True), answered(0.0, 3.0, right=False), refused], 2)

    assert (found.requests, found.rejected, found.late) == (3, 1, 1)
    assert found.in_time == found.right_in_time == 1 / 3
    assert found.accuracy == 0.5
    assert found.exits == (0, 2)
    assert found.joules == 4.0


def test_latency_counts_from_arrival() -> None:
    found = tally([answered(1.0, 1.25, right=True), answered(2.0, 2.75, right=True)], 2)

    assert found.latency_p50 == 0.5


def test_of_nothing_nothing_is_said() -> None:
    found = tally([], 2)

    assert (found.in_time, found.accuracy, found.latency_p50) == (None, None, None)


def test_joules_nobody_measured_are_not_added_up() -> None:
    assert tally([answered(0.0, 0.5, right=True, joules=None)], 2).joules is None


def test_a_report_tells_tenants_and_windows_apart() -> None:
    found = report(
        [answered(0.0, 0.1, right=True, tenant="a"), answered(5.0, 9.0, right=True, tenant="b")], 2
    )

    assert {name: t.in_time for name, t in found.tenants.items()} == {"a": 1.0, "b": 0.0}
    assert found.over(lambda a: a.time < 1).requests == 1


def test_a_report_is_plain_values() -> None:
    plain: Any = report([answered(0.0, 0.1, right=True)], 2).as_dict()

    assert plain["whole"]["exits"] == [0, 1]
    assert plain["tenants"]["default"]["requests"] == 1
