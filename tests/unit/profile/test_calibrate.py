"""From stages run alone to stages inside a longer part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.profile.calibrate import Calibration, calibrate, handover

times = st.lists(st.floats(1e-6, 10), min_size=1, max_size=40)


@given(times, st.floats(1e-6, 100))
def test_calibrated_stages_add_up_to_the_whole(alone, whole):
    """Whatever was measured, the sum over the stages is the time of the whole, and no stage is negative."""
    inside = calibrate(alone, (), (), whole)

    assert sum(inside) == pytest.approx(whole)
    assert min(inside) >= 0


def test_the_price_of_a_call_is_found_and_taken_off():
    """Six stages that pay 1 s for each call: alone 6 s too much, in three pieces 3 s, whole 1 s."""
    bare = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    alone = [seconds + 1 for seconds in bare]
    groups, together, whole = ((0, 2), (2, 4), (4, 6)), [4.0, 8.0, 12.0], 22.0

    assert handover(alone, groups, together, whole) == pytest.approx(1.0)
    assert calibrate(alone, groups, together, whole) == pytest.approx([b * 22 / 21 for b in bare])


def test_a_piece_that_is_faster_together_gets_less():
    """Stages that share work inside a piece lose time there, and only there."""
    inside = calibrate([1.0, 1.0, 1.0, 1.0], ((0, 2), (2, 4)), [1.0, 2.0], 3.0)

    assert inside == pytest.approx([0.5, 0.5, 1.0, 1.0])


def test_without_pieces_the_stages_tell_the_price():
    """Two stages that take 1 s more apart than together paid that for the one cut between them."""
    assert handover([2.0, 3.0], (), (), 4.0) == 1.0


@pytest.mark.parametrize(
    ("alone", "whole", "expected"), [([5.0], 4.0, 0.0), ([1.0, 1.0], 5.0, 0.0), ([0.1, 3.0], 1.0, 0.1)]
)
def test_the_price_is_never_negative_nor_more_than_the_cheapest_stage(alone, whole, expected):
    """Noise does not make a cut pay, nor a stage cost less than nothing."""
    assert handover(alone, (), (), whole) == expected


def test_stages_that_take_no_time_share_the_whole_equally():
    """A clock too coarse for the stages still divides the whole."""
    assert calibrate([0.0, 0.0], (), (), 1.0) == (0.5, 0.5)


def test_a_calibration_says_how_far_the_sum_is_from_the_whole():
    """The ratio of whole to sum is what a reader looks for first."""
    found = Calibration(8, "forward", 2.0, 2.5, 2.2, 0.001)

    assert found.ratio == 0.8
    assert str(found) == "forward at batch 8: whole / sum of stages 0.800, one more cut 1 ms"
    assert Calibration(1, "forward", 0.0, 0.0, 0.0, 0.0).ratio == 1.0
