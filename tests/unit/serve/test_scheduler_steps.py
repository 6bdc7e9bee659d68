"""The search for the smallest price, and the price that remembers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partita.serve.scheduler_steps import Steady, smallest


@given(st.integers(1, 90), st.integers(0, 90), st.integers(0, 89))
def test_the_smallest_fitting_step_is_found_from_anywhere(steps: int, border: int, last: int) -> None:
    found = smallest(lambda step: step >= border, steps, min(last, steps - 1))

    assert found == (border if border < steps else None)


def test_an_unchanged_price_is_confirmed_in_two_looks() -> None:
    looks = []
    smallest(lambda step: looks.append(step) or step >= 20, 79, 20)  # type: ignore[func-returns-value]

    assert looks == [20, 19]


@given(st.lists(st.tuples(st.integers(0, 78), st.floats(0, 1)), max_size=30))
def test_a_steadied_price_is_never_below_what_is_needed(needs: list[tuple[int, float]]) -> None:
    steady, now = Steady(0.3, 39), 0.0
    for need, gap in needs:
        now += gap
        applied = steady.step(need, now)

        assert applied >= need
        assert applied == need or applied <= 39


def test_a_price_fades_when_nothing_needs_it() -> None:
    steady = Steady(0.3, 39)
    for i in range(20):
        steady.step(30, 0.1 * i)

    assert steady.step(0, 2.0) > 10
    assert steady.step(0, 9.0) == 0
