"""The rules that the scheduler is compared with do what their names say."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from partita.serve import Bounds, ExitCost, ExitProfile, StageTime
from partita.serve.arrivals import Arrival
from partita.serve.simulate_baselines import (
    Rule,
    Ruled,
    confidence_only,
    full_model,
    full_model_with_admission,
    response_time,
    response_time_or_confidence,
)
from partita.serve.simulate_report import Report
from partita.serve.simulating import Truth, simulate

STAGE = StageTime({1: 0.01, 2: 0.02, 4: 0.04}, {1: 0.01, 2: 0.02, 4: 0.04})
EXITS = tuple(ExitCost(f"e{k}", accuracy=0.5 + 0.2 * k) for k in range(3))
PROFILE = ExitProfile("net", EXITS, (STAGE,) * 3)
TRUTH = Truth(np.array([[0.9, 0.9, 0.9], [0.1, 0.6, 0.9]]), np.ones((2, 3), dtype=bool))


def serve(rule: Rule, *deadlines: float, sample: int = 0, profile: ExitProfile = PROFILE) -> Report:
    arrivals = [Arrival(0.001 * i, bounds=Bounds(d), sample=sample) for i, d in enumerate(deadlines)]
    return simulate(Ruled(profile, rule), arrivals, profile, TRUTH)


def test_families_have_the_settings_they_claim() -> None:
    levels = {"1%": (0.9, 0.9, 0.0), "2%": (0.8, 0.8, 0.0)}
    sizes = [
        len(full_model()),
        len(full_model_with_admission()),
        len(confidence_only(levels)),
        len(response_time((0.1, 0.2))),
        len(response_time_or_confidence(levels["1%"])),
    ]

    assert sizes == [1, 15, 4, 7, 10]


def test_the_full_model_serves_everybody_to_the_end_in_order_of_arrival() -> None:
    found = serve(full_model()[0], 0.05, 0.01, 0.01)

    assert found.whole.exits == (0, 0, 3)
    assert found.whole.late == 2


def test_a_fused_span_is_used_where_there_is_one() -> None:
    fast = ExitProfile("net", EXITS, (STAGE,) * 3, {"0-2": STAGE})

    assert serve(full_model()[0], 0.015, profile=fast).whole.late == 0


def test_admission_refuses_what_would_be_late() -> None:
    found = serve(full_model_with_admission()[0], 0.04, 0.05, 0.2)

    assert (found.whole.rejected, found.whole.late) == (1, 0)


def test_admission_drops_what_became_late() -> None:
    # Both fit by the medians; half-normal noise is on top, and the second has no slack for it.
    found = serve(Rule("edf", "edf", whole=True, margin=1.0), 0.1, 0.0595)

    assert found.whole.requests == 2
    assert found.whole.expired + found.whole.late + found.whole.rejected >= 1


def test_a_batch_shrinks_to_its_leaders_slack() -> None:
    # The second would be late in a batch of two.
    times = {1: 0.01, 2: 0.0125, 4: 0.025}
    profile = ExitProfile("net", EXITS[:1], (StageTime(times, times),))
    server = Ruled(profile, Rule("edf", "edf", whole=True, margin=1.0))
    truth = Truth(TRUTH.confidence[:, :1], TRUTH.correct[:, :1])
    arrivals = [Arrival(0.0, bounds=Bounds(d)) for d in (0.5, 0.0225, 0.5, 0.5)]

    assert simulate(server, arrivals, profile, truth).whole.in_time == 1.0


@pytest.mark.parametrize(("sample", "exit_"), [(0, 0), (1, 2)])
def test_confidence_alone_decides(sample: int, exit_: int) -> None:
    rule = confidence_only({"1%": (0.8, 0.8, 0.0)})[0]

    assert serve(rule, 1.0, sample=sample).whole.exits.index(1) == exit_


def test_patience_ends_at_the_next_exit() -> None:
    found = serve(Rule("patient", patience=0.015), 1.0)

    assert found.whole.exits == (0, 1, 0)


def test_relative_patience_is_a_share_of_the_deadline() -> None:
    rule = Rule("patient", "edf", patience=0.5, relative=True)

    assert serve(rule, 0.01).whole.exits == (1, 0, 0)
    assert serve(rule, 1.0).whole.exits == (0, 0, 1)


def test_who_is_past_its_deadline_is_dropped_unless_the_rule_says_otherwise() -> None:
    assert serve(Rule("drops"), 1.0, 0.005).whole.expired == 1
    assert serve(Rule("keeps", drop=False), 1.0, 0.005).whole.expired == 0


def test_an_answer_in_hand_is_given_when_it_is_dropped() -> None:
    found = serve(Rule("drops"), 0.005)

    assert found.whole.exits == (1, 0, 0)
    assert found.whole.late == 1


def test_a_rule_waits_for_events_only() -> None:
    assert Ruled(PROFILE, Rule("any")).due == inf
