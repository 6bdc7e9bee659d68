"""Bandwidths as people write them."""

import pytest

from partita.errors import BadDocument
from partita.graph import Link
from partita.train.simulate_links import between, parse_links


def test_a_number_alone_is_mbit_and_a_unit_is_respected():
    assert parse_links("2,800kbit", rtt=0.04) == (Link(2e6, 2e6, 0.04), Link(8e5, 8e5, 0.04))


def test_a_pair_is_up_and_down():
    assert parse_links("5:20", shared=True) == (Link(5e6, 20e6, 0.0, True),)


def test_a_range_has_both_ends_and_round_numbers_between():
    assert [link.up / 1e6 for link in parse_links("1..10")] == [1, 1.5, 2, 3, 5, 7, 10]
    assert [link.up / 1e6 for link in parse_links("4..4")] == [4]


def test_a_wide_range_has_fewer_numbers_between():
    assert len(between(1e3, 1e9)) < 22


def test_links_are_there_once():
    assert len(parse_links("1..3,2")) == 4


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1..x", "10..1", "1:y", "nan", "inf"])
def test_what_is_no_bandwidth_is_refused(text):
    with pytest.raises(BadDocument, match="--bandwidth"):
        parse_links(text)


def test_all_bad_words_come_at_once():
    with pytest.raises(BadDocument) as caught:
        parse_links("x,y," + ",".join(map(str, range(1, 300))))

    assert len(caught.value.problems) == 3
