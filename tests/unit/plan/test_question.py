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
