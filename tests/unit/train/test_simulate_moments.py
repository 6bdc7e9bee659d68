"""Traces and slow-downs: what holds from when, with every bad row named."""

import pytest

from partita.errors import BadDocument
from partita.graph import Link
from partita.train.simulate_moments import FLOOR, Moment, Slowdown, parse_slowdowns, read_moments, slowed


def test_two_columns_are_seconds_and_both_directions():
    assert read_moments("0,50\n1.5,20\n", rtt=0.04) == (
        Moment(0.0, Link(50e6, 50e6, 0.04)),
        Moment(1.5, Link(20e6, 20e6, 0.04)),
    )


def test_four_columns_add_the_way_down_and_the_round_trip():
    (moment,) = read_moments("0,20,80,30")

    assert moment.link == Link(20e6, 80e6, 0.03)


def test_a_header_names_columns_in_any_order_and_is_optional():
    assert read_moments("mbit,seconds\n5,0\n7,2\n") == read_moments("0,5\n2,7")
    assert read_moments("seconds,mbit_up,mbit_down\n0,5,9") == read_moments("0,5,9")


def test_times_count_from_the_first_row_and_remarks_are_skipped():
    rows = read_moments("# a train\n\n1700000000,5\n1700000001,6\n")

    assert [moment.at for moment in rows] == [0.0, 1.0]


def test_a_dead_link_is_a_very_slow_one():
    assert read_moments("0,0")[0].link.up == FLOOR


def test_a_shared_medium_is_said_by_the_caller():
    assert read_moments("0,5", shared=True)[0].link.shared


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is not a single row"),
        ("0,x", "line 1: mbit_up 'x' is not a number of zero or more"),
        ("0,-1", "line 1: mbit_up '-1' is not a number"),
        ("0,inf", "line 1: mbit_up 'inf' is not a number"),
        ("0", "line 1: has 1 cells, not 2 to 4"),
        ("0,1,2,3,4", "line 1: has 5 cells"),
        ("0,1\n0,2", "line 2: 0 s does not come after 0 s"),
        ("seconds,speed\n0,1", "line 1: 'speed' is not one of seconds, mbit_up"),
        ("seconds,speed\n0,1", "line 1: there is no column mbit_up"),
        ("seconds,mbit,mbit\n0,1,1", "line 1: mbit_up is there twice"),
    ],
)
def test_a_bad_row_is_named_by_its_line(text, problem):
    with pytest.raises(BadDocument) as caught:
        read_moments(text, name="wifi.csv")

    assert any(problem in found for found in caught.value.problems), caught.value.problems


def test_all_bad_rows_come_at_once_up_to_a_screenful():
    with pytest.raises(BadDocument) as caught:
        read_moments("0,1\n" + "x,y\n" * 30)

    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "and 40 more"


def test_a_file_of_another_kind_is_refused_by_its_length():
    with pytest.raises(BadDocument, match="rows are more than 200000"):
        read_moments("0,1\n" * 200_001)


def test_slow_downs_have_a_place_a_factor_and_a_time():
    assert parse_slowdowns(["edge=4@60s..120s", "cloud=2@500ms", "edge=1.5"]) == (
        Slowdown("edge", 4.0, 60.0, 120.0),
        Slowdown("cloud", 2.0, 0.5),
        Slowdown("edge", 1.5),
    )


def test_all_bad_slow_downs_come_at_once():
    with pytest.raises(BadDocument) as caught:
        parse_slowdowns(["fog=2", "edge=0", "edge", "edge=2@soon", "edge=2@5s..1s"])

    assert len(caught.value.problems) == 5
    assert "'edge=2@5s..1s' ends before it begins" in caught.value.problems


def test_slow_downs_begin_and_end_between_rows_and_multiply():
    rows = slowed(read_moments("0,5\n10,6"), parse_slowdowns(["edge=4@2s..12s", "edge=2@10s", "cloud=3"]))

    assert [(m.at, m.link.up / 1e6, m.edge, m.cloud) for m in rows] == [
        (0, 5, 1, 3), (2, 5, 4, 3), (10, 6, 8, 3), (12, 6, 2, 3),
    ]  # fmt: skip
