"""Which parts of a chain are timed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.profile.spans import MOST_PIECES, Span, pieces, shares, smallest_spans


def test_every_stage_is_a_span_where_every_cut_is_legal(line):
    """A chain that can be cut everywhere is timed stage by stage."""
    assert smallest_spans(line(3)) == (Span(0, 1), Span(1, 2), Span(2, 3))


def test_stages_around_an_illegal_cut_are_one_span(line):
    """No part ends where the model cannot be cut."""
    chain = line(4, blocked={2: "a mask is shared"})

    spans = smallest_spans(chain)

    assert spans == (Span(0, 1), Span(1, 3), Span(3, 4))
    assert [len(span) for span in spans] == [1, 2, 1]


@pytest.mark.parametrize("most", [1, 3, 7])
def test_neighbours_are_joined_until_there_are_few_enough(line, most):
    """A long chain is timed in at most as many spans as allowed, without gaps."""
    spans = smallest_spans(line(20), most)

    assert len(spans) == most
    assert [span.start for span in spans[1:]] == [span.stop for span in spans[:-1]]
    assert (spans[0].start, spans[-1].stop) == (0, 20)


@given(st.lists(st.floats(0, 100), max_size=300))
def test_pieces_cover_all_spans_in_order_and_none_is_empty(seconds):
    """The longer pieces are a partition of the spans, whatever their times."""
    groups = pieces(seconds)

    assert len(groups) <= MOST_PIECES
    assert [i for start, stop in groups for i in range(start, stop)] == (
        list(range(len(seconds))) if groups else []
    )
    assert all(start < stop for start, stop in groups)


def test_pieces_take_about_the_same_time():
    """One slow stage fills a piece of its own."""
    assert pieces([1, 1, 1, 9, 1, 1, 1, 1, 1]) == ((0, 3), (3, 4), (4, 9))


def test_a_short_chain_has_no_pieces():
    """Between three stages and their whole there is nothing to learn."""
    assert pieces([1.0, 1.0, 1.0]) == ()


def test_a_span_is_divided_in_proportion_to_operators(line):
    """A stage of three operators gets three times the time of a stage with one; none counts as one."""
    chain = line(3, ops=(3, 1, 0), blocked={1: "x", 2: "x"})

    assert shares(chain, Span(0, 3)) == (0.6, 0.2, 0.2)
