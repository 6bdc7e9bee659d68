"""Stage times: the profile's shape, the workers' scale."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.serve import ExitCost, ExitProfile, StageTime
from partita.serve.scheduler_costs import Costs

STAGE = StageTime({1: 1.0, 2: 1.2, 4: 2.0, 8: 4.0}, {1: 2.0, 2: 2.4, 4: 4.0, 8: 8.0})
EXITS = (ExitCost("a", accuracy=0.5, joules=1.0), ExitCost("b", accuracy=0.6, joules=3.0))


def costs(max_batch: int = 8) -> Costs:
    return Costs(ExitProfile("net", EXITS, (STAGE, STAGE), {"0-1": STAGE}), max_batch)


def test_a_profile_without_times_schedules_nothing() -> None:
    with pytest.raises(BadDocument, match="no stage times"):
        Costs(ExitProfile("net", EXITS), 8)


def test_times_between_measured_sizes_are_read_off_the_line() -> None:
    assert costs().seconds(0, 0, 3) == pytest.approx(1.6)
    assert costs().seconds(0, 1, 4) == 2.0


def test_batches_end_where_larger_ones_bring_nothing() -> None:
    assert costs().enough[0, 0] == 4
    assert costs(max_batch=2).enough[0, 0] == 2


def test_a_stage_is_priced_as_for_a_sample_alone() -> None:
    """Full batches do not form when time is short, and a price that counts on them is too low."""
    assert costs().units() == [1.0, 1.0]


def test_the_last_chance_reckons_with_the_tail_or_the_margin() -> None:
    assert costs().tail(0, margin=1.25) == 2.0
    assert costs().tail(0, margin=3.0) == 3.0


def test_several_stages_one_after_the_other_add_up() -> None:
    assert costs().alone(0, 1) == 2.0


def test_joules_count_from_exit_to_exit() -> None:
    assert costs().joules == [1.0, 2.0]


def test_what_workers_report_moves_the_scale() -> None:
    c = costs()
    for _ in range(200):
        c.observe(0, 0, 4, 4.0)

    assert c.seconds(0, 0, 4) == pytest.approx(4.0, rel=0.01)
    assert c.seconds(1, 1, 4) == 2.0


def test_one_stall_teaches_little() -> None:
    c = costs()
    c.observe(0, 0, 1, 1000.0)

    assert c.seconds(0, 0, 1) <= 1.1


def test_a_stage_that_takes_no_time_teaches_nothing() -> None:
    free = StageTime({1: 0.0}, {1: 0.0})
    c = Costs(ExitProfile("net", EXITS[:1], (free,)), 1)
    c.observe(0, 0, 1, 1.0)

    assert c.seconds(0, 0, 1) == 0.0
