"""Bounds become exits, or a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from partita.serve import Bounds, ExitCost, ExitProfile
from partita.serve.scheduler_admission import Doors, Reach
from partita.serve.scheduler_orders import Request

ACCURACY = [0.6, 0.8, 0.7]


def doors(joules: bool = True) -> Doors:
    exits = tuple(ExitCost(f"e{k}", joules=1.0 + k if joules else None) for k in range(3))
    return Doors(ExitProfile("net", exits), ACCURACY)


def reach(mode: Any = "degrade", joules: bool = True, **bounds: Any) -> Reach | str:
    return doors(joules).reach(Request(0, Bounds(**bounds), infeasible=mode))


def test_who_asks_for_nothing_may_take_every_exit() -> None:
    assert reach() == Reach(0, 2, 0)


def test_exits_are_bounded_from_both_sides() -> None:
    assert reach(min_exit=1, max_exit=1) == Reach(1, 1, 1)


def test_a_ceiling_beyond_the_last_exit_is_the_last_exit() -> None:
    assert reach(max_exit=9) == Reach(0, 2, 0)


def test_an_accuracy_floor_leaves_out_exits_that_are_worse_later() -> None:
    assert reach(accuracy_floor=0.75) == Reach(1, 1, 1)
    assert reach(accuracy_floor=0.65) == Reach(1, 2, 1)


def test_an_energy_budget_is_a_ceiling() -> None:
    assert reach(energy_budget=2.5) == Reach(0, 1, 0)


def test_a_budget_below_the_floor_takes_the_floor_away_where_it_may() -> None:
    assert reach(energy_budget=1.5, accuracy_floor=0.75) == Reach(0, 0, 1)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"min_exit": 3}, "min_exit is 3, and the exits are 0 to 2"),
        ({"min_exit": -1}, "min_exit is -1"),
        ({"min_exit": 2, "max_exit": 0}, "max_exit 0 lies before min_exit 2"),
        ({"accuracy_floor": 0.9}, "the best exit allowed, e1, is right in 0.8000"),
        ({"energy_budget": 0.5}, "exit e0 draws 1 J, and the budget is 0.5 J"),
        ({"energy_budget": 1.5, "min_exit": 1, "mode": "reject"}, "exit e1 draws 2 J"),
        ({"energy_budget": 1.0, "joules": False}, "the profile has no joules"),
    ],
)
def test_what_cannot_be_is_said_in_words(bounds: dict[str, Any], said: str) -> None:
    assert said in str(reach(**bounds))


def test_bounds_read_before_are_remembered_and_memory_is_bounded() -> None:
    d = doors()
    first = d.reach(Request(0, Bounds(accuracy_floor=0.75)))
    for i in range(5000):
        d.reach(Request(0, Bounds(accuracy_floor=i * 1e-6)))

    assert d.reach(Request(1, Bounds(accuracy_floor=0.75))) == first
    assert len(d._known) <= 4096


def test_floors_given_up_are_remembered_as_wanted() -> None:
    assert doors().loosened(Reach(2, 2, 2)) == Reach(0, 2, 2)
