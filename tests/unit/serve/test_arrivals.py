"""Requests over time: drawn, written and read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.serve import Bounds, arrivals
from partita.serve.arrivals import Arrival, Burst, Stream, draw, read_trace, write_trace


def test_a_rate_is_kept_on_average() -> None:
    found = draw([Stream(100.0)], 50.0, seed=1)

    assert 4700 < len(found) < 5300
    assert [a.time for a in found] == sorted(a.time for a in found)
    assert all(0 <= a.time < 50 for a in found)


def test_a_seed_gives_the_same_arrivals() -> None:
    streams = [Stream(20.0, deadlines=(0.1, 0.2))]

    assert draw(streams, 5.0, seed=3) == draw(streams, 5.0, seed=3) != draw(streams, 5.0, seed=4)


def test_another_tenant_does_not_move_the_first() -> None:
    alone = draw([Stream(20.0, "a", (0.1, 0.2))], 5.0)
    both = draw([Stream(99.0, "b"), Stream(20.0, "a", (0.1, 0.2))], 5.0)

    assert tuple(a for a in both if a.tenant == "a") == alone


def test_a_burst_multiplies_the_rate_while_it_lasts() -> None:
    found = draw([Stream(100.0, bursts=(Burst(10.0, 10.0, 5.0),))], 30.0)
    inside = sum(10 <= a.time < 20 for a in found)

    assert 4600 < inside < 5400
    assert 1750 < len(found) - inside < 2250


def test_a_burst_that_outlasts_the_end_is_cut() -> None:
    found = draw([Stream(100.0, bursts=(Burst(0.0, 100.0, 2.0),))], 10.0)

    assert max(a.time for a in found) < 10


def test_deadlines_are_mixed_into_the_bounds() -> None:
    found = draw([Stream(100.0, deadlines=(0.1, 0.2), bounds=Bounds(min_exit=1))], 10.0)

    assert {a.bounds.deadline for a in found} == {0.1, 0.2}
    assert {a.bounds.min_exit for a in found} == {1}


def test_streams_that_make_no_sense_are_refused_together() -> None:
    with pytest.raises(BadDocument) as raised:
        draw([Stream(-1.0, deadlines=(0.0,), bursts=(Burst(0.0, 0.0, 1.0),))], float("inf"))

    assert len(raised.value.problems) == 4


def test_a_trace_with_a_time_alone_is_enough() -> None:
    assert read_trace("time\n2\n1.5\n") == (Arrival(1.5), Arrival(2.0))


def test_a_trace_may_say_everything() -> None:
    text = (
        "time, tenant, deadline_ms, accuracy_floor, energy_budget_mj, min_exit, max_exit, sample\n"
        "0.5, cam, 20, 0.7, 150, 0, 3, 12\n"
    )

    assert read_trace(text) == (Arrival(0.5, "cam", Bounds(0.02, 0.7, 0.15, 0, 3), 12),)


NUMBERS = st.one_of(st.none(), st.integers(0, 9))
ARRIVALS = st.builds(
    Arrival,
    st.integers(0, 10**6).map(lambda n: n / 1024),
    st.sampled_from(["default", "a,b", 'say "hi"', "ü"]),
    st.builds(
        Bounds, st.sampled_from([None, 0.25, 2.0]), st.sampled_from([None, 0.5]), st.none(), NUMBERS, NUMBERS
    ),
    NUMBERS,
)


@given(st.lists(ARRIVALS))
def test_a_written_trace_reads_back_the_same(found: list[Arrival]) -> None:
    ordered = tuple(sorted(found, key=lambda a: a.time))

    assert read_trace(write_trace(ordered)) == ordered


def test_every_bad_cell_is_named() -> None:
    with pytest.raises(BadDocument) as raised:
        read_trace(
            "time,deadline_ms,accuracy_floor,min_exit,sample\n,0,2,1.5,x\nnan,5,0.5,1,1,9\n", name="t.csv"
        )

    assert raised.value.problems == (
        "line 2: time is empty",
        "line 2: deadline_ms is '0'",
        "line 2: accuracy_floor is '2'",
        "line 2: min_exit is 1.5, and has to be a whole number",
        "line 2: sample is 'x'",
        "line 3: more cells than columns",
        "line 3: time is 'nan'",
    )
    assert "'t.csv'" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"), [("", "'time' is missing"), ("time,speed\n1,2\n", "'speed' is unknown")]
)
def test_a_header_that_is_no_trace_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadDocument, match=said):
        read_trace(text)


def test_an_endless_trace_is_refused_unread(monkeypatch: Any) -> None:
    monkeypatch.setattr(arrivals, "LARGEST_TRACE", 4)

    with pytest.raises(BadDocument, match="more than the 4 accepted"):
        read_trace("time\n1\n")
