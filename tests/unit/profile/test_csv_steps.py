"""From seconds by cut to seconds by stage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.profile.csv_steps import read_columns, rising_fit

numbers = st.lists(st.floats(0, 1000), min_size=1, max_size=30)


@given(numbers)
def test_a_fit_never_falls_and_keeps_the_mean(values):
    """Pooling moves values to the mean of their neighbours, and nothing else."""
    fit = rising_fit(values)

    assert list(fit) == sorted(fit)
    assert sum(fit) == pytest.approx(sum(values))


@given(numbers)
def test_a_row_that_rises_is_its_own_fit(values):
    """Where there is no noise nothing changes."""
    assert rising_fit(sorted(values)) == tuple(sorted(values))


@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=20), st.booleans())
def test_no_stage_takes_less_than_no_time(column, turned):
    """Whatever the noise, and whichever side: as many stages as rows, none negative, the whole in its place."""
    far = [*column[:-1], 0.0]
    table = [column[::-1], far[::-1]] if turned else [column, far]

    near, other = read_columns(table)

    assert len(near.stages) == len(other.stages) == len(column)
    assert min(*near.stages, *other.stages) >= 0
    assert bool(near.after) is turned
    assert other.whole >= max(far)
