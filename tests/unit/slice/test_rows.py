"""Rows of spans: the dynamic programme against every row."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.slice.rows import cheapest, counts, fewest, smallest_maximum


@st.composite
def tables(draw):
    """Three tables of small whole numbers, the first with spans that are not allowed."""
    side = draw(st.integers(2, 6))
    cells = st.lists(st.integers(0, 3), min_size=side * side, max_size=side * side)
    keys = [np.array(draw(cells), float).reshape(side, side) for _ in range(3)]
    allowed = np.array(draw(st.lists(st.booleans(), min_size=side * side, max_size=side * side)))
    fits = np.triu(allowed.reshape(side, side) | np.array(draw(st.booleans())), 1)
    keys[0] = np.where(fits, keys[0], np.inf)
    return fits, keys


def every_row(fits, number):
    side = len(fits)
    for count in range(side):
        if number in (None, count + 1):
            for inner in combinations(range(1, side - 1), count):
                row = (0, *inner, side - 1)
                if all(fits[span] for span in pairwise(row)):
                    yield row


@given(tables(), st.sampled_from([None, 1, 2, 3]))
def test_the_cheapest_row_is_the_cheapest_of_all(drawn, number) -> None:
    """Key by key, with ties decided by the next key."""
    fits, keys = drawn
    sums = [
        tuple(sum(key[span] for span in pairwise(row)) for key in keys) for row in every_row(fits, number)
    ]
    found = cheapest(keys, number)

    if not sums:
        assert found is None
    else:
        assert tuple(found) in set(every_row(fits, number))
        assert tuple(sum(key[span] for span in pairwise(found)) for key in keys) == min(sums)


@given(tables(), st.sampled_from([None, 1, 2, 3]))
def test_the_smallest_maximum_is_that_of_all_rows(drawn, number) -> None:
    """Infinite where there is no row."""
    fits, keys = drawn
    peaks = [max(keys[0][span] for span in pairwise(row)) for row in every_row(fits, number)]

    assert smallest_maximum(keys[0], number) == min(peaks, default=np.inf)


@given(tables())
def test_possible_numbers_are_those_of_all_rows(drawn) -> None:
    """And the least of them is found without looking at the others."""
    fits, _ = drawn
    possible = sorted({len(row) - 1 for row in every_row(fits, None)})

    assert counts(fits, len(fits)) == possible
    assert fewest(fits) == min(possible, default=None)


@pytest.mark.parametrize("number", [None, 1, 2])
def test_tables_are_left_as_they_were(number) -> None:
    """Looking for a row changes nothing: tables are shared."""
    table = np.triu(np.arange(16.0).reshape(4, 4), 1)
    before = table.copy()
    cheapest([np.where(table > 0, table, np.inf), table], number)
    smallest_maximum(table, number)

    assert (table == before).all()
