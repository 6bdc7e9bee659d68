"""Steps that overlap: the closed form and the simulation."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.plan import Visit, print_schedule, simulate, steady
from partita.plan.schedule import alone, bound, busy, saturating

VISITS = st.lists(
    st.builds(
        Visit, st.sampled_from("abcd"), st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.3])
    ),
    min_size=1,
    max_size=6,
).filter(lambda visits: sum(v.seconds for v in visits) > 0)


@given(VISITS, st.integers(0, 4))
def test_no_schedule_beats_the_bound(visits, window):
    """The simulated time per step is never below the closed form, nor above that of one step alone."""
    assert bound(visits, window) <= steady(visits, window) * (1 + 1e-9)
    assert steady(visits, window) <= alone(visits) * (1 + 1e-9)


@given(st.permutations("abcd"), st.lists(st.floats(0.1, 2), min_size=4, max_size=4), st.integers(0, 4))
def test_the_closed_form_is_exact_where_nothing_is_visited_twice(names, seconds, window):
    """In a line of distinct resources, simulation and formula agree."""
    visits = [Visit(name, s, 0.1) for name, s in zip(names, seconds, strict=True)]
    ends = [e.stop for e in simulate(visits, window, 80) if e.resource == names[-1]]
    assert (ends[-1] - ends[39]) / 40 == pytest.approx(bound(visits, window), rel=0.06)


@given(VISITS, st.integers(0, 3))
def test_a_resource_serves_one_visit_at_a_time(visits, window):
    """Entries at one resource never overlap, and every step makes all its visits."""
    entries = simulate(visits, window, 6)
    assert len(entries) == 6 * len(visits)
    for name in {v.resource for v in visits}:
        mine = sorted((e.start, e.stop) for e in entries if e.resource == name)
        assert all(left[1] <= right[0] + 1e-9 for left, right in pairwise(mine))


def test_the_edge_visited_twice_is_slower_than_its_bound():
    """The known example: times 1, .5, .3, .5 with the edge's second part at the end, K=1."""
    visits = [
        Visit("edge", 0.4),
        Visit("up", 0.5),
        Visit("cloud", 0.3),
        Visit("down", 0.5),
        Visit("edge", 0.6),
    ]
    assert bound(visits, 1) == pytest.approx(1.15)
    assert steady(visits, 1) > 1.15


def test_the_smallest_window_that_saturates():
    """Four equal stages need three more steps under way, jitter asks for one more, nothing to do for none."""
    visits = [Visit(name, 1.0) for name in "abcd"]
    assert saturating(visits) == 3
    assert saturating(visits, jitter=True) == 4
    assert saturating([Visit("a", 1.0)], jitter=True) == 0
    assert saturating([Visit("a", 0.0)]) == 0
    assert busy(visits) == dict.fromkeys("abcd", 1.0)


def test_a_schedule_prints_as_a_grid():
    """Each resource is a row, each column a slice of time, each digit a step."""
    visits = [Visit("edge", 1.0), Visit("uplink", 1.0)]
    assert print_schedule(simulate(visits, 1, 2), width=6) == (
        "edge    0011..\nuplink  ..0011\n        0   3s\n"
    )
    assert print_schedule(()) == ""
