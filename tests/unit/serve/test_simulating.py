"""The simulation: what goes in comes out, counted rightly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from partita.errors import BadDocument
from partita.serve import Bounds, ExitCost, ExitProfile, StageTime
from partita.serve.arrivals import Arrival, Burst, Stream, draw
from partita.serve.scheduler import Scheduler
from partita.serve.scheduler_orders import Batch, Settings, Tenant
from partita.serve.simulating import Truth, simulate, stage_times

ACCURACY = (0.6, 0.8, 0.9)
STAGE = StageTime({1: 0.01, 2: 0.02, 4: 0.04}, {1: 0.011, 2: 0.022, 4: 0.044})
EXITS = tuple(ExitCost(f"e{k}", accuracy=a, joules=1.0 + k) for k, a in enumerate(ACCURACY))
PROFILE = ExitProfile("net", EXITS, (STAGE,) * 3)
# As many samples as each exit is right on, nested: who is right early stays right.
TRUTH = Truth(np.full((10, 3), 0.5), np.array([[k < 10 * a for a in ACCURACY] for k in range(10)]))


def serve(arrivals: Any, *, tenants: tuple[Tenant, ...] = (), workers: int = 1, **more: Any) -> Any:
    scheduler = Scheduler(PROFILE, tenants=tenants, settings=Settings(workers=workers))
    return simulate(scheduler, arrivals, PROFILE, TRUTH, workers=workers, **more)


def traffic(load: float, seconds: float = 10.0, **more: Any) -> tuple[Arrival, ...]:
    """`load` times what the whole network can do."""
    return draw([Stream(load / 0.03, deadlines=(0.15, 0.3, 0.5), **more)], seconds, seed=5)


def test_accuracy_is_that_of_the_samples_asked_about() -> None:
    found = serve([Arrival(float(i), sample=i) for i in range(10)])

    assert found.whole.accuracy == 0.9
    assert found.whole.exits == (0, 0, 10)


def test_every_arrival_ends_once() -> None:
    arrivals = traffic(3.0, bursts=(Burst(3.0, 3.0, 3.0),))
    found = serve(arrivals, workers=2)

    assert sorted(o.arrival.time for o in found.outcomes) == [a.time for a in arrivals]


def test_the_same_seed_gives_the_same_report() -> None:
    arrivals = traffic(2.0)

    assert serve(arrivals, seed=1).as_dict() == serve(arrivals, seed=1).as_dict()
    assert serve(arrivals, seed=1).as_dict() != serve(arrivals, seed=2).as_dict()


def test_twice_the_capacity_is_served_in_time_and_deeper_than_the_first_exit() -> None:
    whole = serve(traffic(2.0, seconds=20.0)).whole

    assert whole.in_time is not None
    assert whole.in_time > 0.995
    assert whole.degraded > 0
    assert sum(whole.exits[1:]) > 0


def test_a_polite_tenant_keeps_its_depth_beside_an_aggressor() -> None:
    tenants = (Tenant("polite"), Tenant("rude"))
    both = (*traffic(0.2, tenant="polite"), *traffic(2.0, tenant="rude"))
    found = serve(sorted(both, key=lambda a: a.time), tenants=tenants)
    deep = {name: t.exits[2] / t.requests for name, t in found.tenants.items()}

    assert deep["polite"] > 3 * deep["rude"]
    assert abs((found.tenants["polite"].accuracy or 0) - 0.9) < 0.05
    assert found.tenants["polite"].in_time == 1.0


def test_requests_that_may_not_be_late_are_refused_when_they_must() -> None:
    arrivals = [Arrival(0.0, bounds=Bounds(0.05, min_exit=2)) for _ in range(5)]
    found = serve(arrivals, infeasible="reject").whole

    assert found.rejected == 4
    assert found.in_time == 0.2


def test_answers_due_while_the_worker_is_busy_are_given_in_time() -> None:
    found = serve(traffic(4.0)).whole

    assert found.late == 0


def test_who_becomes_hopeless_while_the_worker_is_busy_is_told_at_that_moment() -> None:
    slow = replace(PROFILE, stages=(StageTime({1: 0.5}, {1: 0.5}),) * 3)
    arrivals = [Arrival(0.0, bounds=Bounds(0.1)), Arrival(0.001, bounds=Bounds(0.1))]
    found = simulate(Scheduler(PROFILE), arrivals, slow, TRUTH)
    second = next(o for o in found.outcomes if o.arrival.time > 0)

    assert second.ending == "expired"
    assert second.at == pytest.approx(0.091)


def test_two_workers_serve_twice_as_much() -> None:
    assert serve(traffic(1.6), workers=2).whole.degraded < serve(traffic(1.6)).whole.degraded


def test_a_truth_table_of_another_network_is_refused() -> None:
    other = Truth(TRUTH.confidence[:, :2], TRUTH.correct[:, :2])

    with pytest.raises(BadDocument, match="2 exits, and the profile has 3"):
        simulate(Scheduler(PROFILE), [], PROFILE, other)


def test_a_truth_table_has_one_answer_per_confidence() -> None:
    with pytest.raises(BadDocument) as raised:
        Truth(np.zeros(3), np.zeros((3, 2), dtype=bool))

    assert len(raised.value.problems) == 2


@pytest.mark.parametrize("tail", [1.0, 1.2])
def test_stage_times_are_never_faster_than_the_median_and_as_wide_as_the_profile_says(tail: float) -> None:
    stage = StageTime({1: 1.0}, {1: tail})
    seconds = stage_times(replace(PROFILE, stages=(stage,) * 3), seed=3)
    members: Any = (None,)
    drawn = [seconds(Batch(0, 1, 0, 0.0, 0.0, members)) for _ in range(4000)]

    assert min(drawn) >= 2.0
    # Without a tail, five percent of half-normal noise: its p99 is 1.129.
    assert np.percentile(drawn, 99) == pytest.approx(2 * (1.129 if tail == 1.0 else tail), rel=0.02)


def test_a_tail_far_above_the_median_is_a_stall_now_and_then() -> None:
    """One run in a hundred takes that long; the others keep near the median."""
    stage = StageTime({1: 1.0}, {1: 30.0})
    seconds = stage_times(replace(PROFILE, stages=(stage,) * 3), seed=3)
    members: Any = (None,)
    drawn = np.array([seconds(Batch(0, 1, 0, 0.0, 0.0, members)) for _ in range(10_000)])

    assert 0.005 < np.mean(drawn == 60.0) < 0.015
    assert drawn[drawn < 60].max() < 2.6
