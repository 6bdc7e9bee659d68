"""Questions to the planner."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.plan import Overhead, Question


def test_all_bad_fields_come_together():
    """A question with many faults names each."""
    with pytest.raises(BadDocument) as caught:
        Question(
            objective="beauty",
            mode="dream",
            batch=0,
            alpha=-1,
            max_window=-2,
            overhead=Overhead(bytes=-1),
            inputs_at_cloud=True,
            min_front=1,
        )
    assert len(caught.value.problems) == 7


def test_dimensions_are_bound_with_the_batch():
    """Open dimensions get their values from the question."""
    assert Question(batch=4, dims={"seq": 128}).bind() == {"batch": 4, "seq": 128}


def test_an_error_bound_that_nothing_meets_leaves_raw():
    """Raw is always within a bound."""
    assert list(Question(codecs=("int2",), max_error=0.01).admitted()) == ["raw"]


def test_a_fixed_codec_is_taken_whatever_it_loses():
    """An error bound is for what is chosen; both ways together are what is admitted at all."""
    question = Question(codecs=("raw", "int8"), codecs_down=("int2",), max_error=0.0)
    assert list(question.admitted("up")) == ["raw"]
    assert list(question.admitted("down")) == ["int2"]
    assert list(question.admitted()) == ["raw", "int2"]


def test_the_windows_asked_for():
    """All up to the largest, or the fixed one; one step alone for latency."""
    assert Question(max_window=2).windows == (0, 1, 2)
    assert Question(max_window=2, window=5).windows == (5,)
    assert Question(objective="latency").windows == (0,)
    with pytest.raises(BadDocument, match="window: -1"):
        Question(window=-1)
