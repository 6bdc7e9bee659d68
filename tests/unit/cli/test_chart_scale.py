"""Scales: where values lie, and which round numbers stand beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.cli.chart_scale import Scale, written

finite = st.floats(-1e300, 1e300)
above = st.floats(1e-300, 1e300)


@given(st.lists(finite, min_size=1), st.booleans())
def test_every_value_lies_on_a_linear_scale(values: list[float], from_zero: bool) -> None:
    """Whatever their range."""
    scale = Scale.over(values, 0.0, 100.0, from_zero=from_zero)

    assert all(-1e-6 <= scale.at(value) <= 100 + 1e-6 for value in values)


@given(st.lists(above, min_size=1))
def test_every_value_lies_on_a_logarithmic_scale(values: list[float]) -> None:
    """In the order of the values."""
    scale = Scale.over(values, 0.0, 100.0, log=True)
    places = [scale.at(value) for value in sorted(values)]

    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    assert places == sorted(places)
    assert scale.ticks


@given(st.lists(st.floats(-1e12, 1e12), min_size=2))
def test_no_two_labels_read_alike(values: list[float]) -> None:
    """A tick whose label would repeat another's is left out."""
    texts = [text for _, text in Scale.over(values, 0.0, 100.0, unit="bytes").labels]

    assert len(texts) == len(set(texts))
    assert len(texts) <= 12


def test_ticks_are_round() -> None:
    """1, 2 or 5 times a power of ten."""
    assert Scale.over([1.0, 12.0], 0, 1, most=12).ticks == tuple(range(1, 13))
    assert Scale.over([0.0, 0.93], 0, 1, from_zero=True, most=6).ticks == pytest.approx(
        (0, 0.2, 0.4, 0.6, 0.8, 1.0)
    )
    assert Scale.over([2e6, 9e9], 0, 1, log=True).ticks == pytest.approx((1e7, 1e8, 1e9, 1e10))


def test_a_count_has_no_halves() -> None:
    """Even if there are only two of them."""
    assert Scale.over([1, 2], 0, 1, unit="count").ticks == (1, 2)


def test_a_scale_may_run_upwards_on_paper() -> None:
    """The larger value at the smaller place."""
    scale = Scale.over([0.0, 10.0], 300.0, 100.0, from_zero=True)

    assert (scale.at(0.0), scale.at(10.0), scale.at(5.0)) == (300.0, 100.0, 200.0)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "bytes", "0 B"),
        (1.5e6, "bytes", "1.5 MB"),
        (-2e3, "bytes", "-2 KB"),
        (0.0, "seconds", "0 s"),
        (0.0125, "seconds", "12.5 ms"),
        (90.0, "seconds", "90 s"),
        (3600.0, "seconds", "60 min"),
        (2e-10, "seconds", "0.2 ns"),
        (1.25e-5, "dollars", "$1.25e-5"),
        (1200.0, "dollars", "$1,200"),
        (0.125, "share", "12.5%"),
        (5.0, "count", "5"),
        (1e9, "", "1e9"),
        (1234.5, "", "1,230"),
    ],
)
def test_numbers_are_written_with_their_unit(value: float, unit: str, text: str) -> None:
    """In three digits."""
    assert written(value, unit) == text  # type: ignore[arg-type]  # parametrized
