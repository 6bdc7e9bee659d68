"""The exact bounds, against closed forms, sums of fractions and published intervals."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.serve.calibrate_binomial import (
    accuracy_interval,
    beta_cdf,
    beta_quantile,
    binomial_cdf,
    doubt,
    samples_needed,
    upper_bound,
)

CHANCES = st.fractions(Fraction(1, 1000), Fraction(999, 1000), max_denominator=1000)


@given(x=st.floats(0.001, 0.999), b=st.floats(0.5, 500))
def test_the_beta_function_has_its_closed_form_where_one_parameter_is_one(x: float, b: float) -> None:
    """I_x(1, b) = 1 - (1 - x)^b and I_x(b, 1) = x^b."""
    assert beta_cdf(x, 1, b) == pytest.approx(1 - (1 - x) ** b, rel=1e-9, abs=1e-12)
    assert beta_cdf(x, b, 1) == pytest.approx(x**b, rel=1e-9, abs=1e-300)


def test_the_beta_function_ends_at_zero_and_one() -> None:
    """Outside the unit interval nothing is left to add."""
    assert beta_cdf(-0.1, 2, 3) == 0
    assert beta_cdf(1.1, 2, 3) == 1


def test_the_beta_function_stays_finite_where_its_fraction_meets_a_zero() -> None:
    """Lentz's method needs its guard where a denominator vanishes: here 1 - (a + b) x / (a + 1) is 0."""
    assert beta_cdf(0.5, 1, 3) == pytest.approx(0.875)


@given(x=st.floats(0.01, 0.99), a=st.floats(0.5, 300), b=st.floats(0.5, 300))
def test_a_quantile_undoes_the_distribution(x: float, a: float, b: float) -> None:
    """Where the distribution has any slope to speak of, its inverse comes back."""
    share = beta_cdf(x, a, b)

    assert beta_cdf(beta_quantile(share, a, b), a, b) == pytest.approx(share, abs=1e-9)


@given(samples=st.integers(1, 60), count=st.integers(0, 60), chance=CHANCES)
def test_the_binomial_equals_the_sum_of_its_terms(samples: int, count: int, chance: Fraction) -> None:
    """Against exact arithmetic."""
    terms = range(min(count, samples) + 1)
    exact = sum(math.comb(samples, i) * chance**i * (1 - chance) ** (samples - i) for i in terms)

    assert binomial_cdf(count, samples, float(chance)) == pytest.approx(float(exact), abs=1e-10)


def test_fewer_than_no_events_never_happen() -> None:
    """The distribution starts at 0."""
    assert binomial_cdf(-1, 10, 0.5) == 0


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"),
    [(5, 10, 0.1871, 0.8129), (0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (95, 100, 0.8872, 0.9836)],
)
def test_intervals_are_those_of_the_tables(right: int, samples: int, low: float, high: float) -> None:
    """Clopper-Pearson at 95%, as statistics packages print it."""
    assert accuracy_interval(right, samples) == pytest.approx((low, high), abs=5e-5)


@given(samples=st.integers(1, 3000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_the_upper_bound_is_where_so_few_events_become_unlikely(
    samples: int, share: float, confidence: float
) -> None:
    """At the bound, so few events have exactly the chance that is left over."""
    events = min(samples - 1, int(share * samples))
    bound = upper_bound(events, samples, confidence)

    assert binomial_cdf(events, samples, bound) == pytest.approx(1 - confidence, abs=1e-7)


def test_nothing_is_proven_where_every_sample_was_an_event() -> None:
    """The bound is then 1."""
    assert upper_bound(7, 7, 0.95) == 1


@pytest.mark.parametrize(("max_drop", "needed"), [(0.01, 299), (0.002, 1497), (0.05, 59)])
def test_the_fewest_samples_are_those_that_prove_it_without_any_loss(max_drop: float, needed: int) -> None:
    """One fewer would not do."""
    assert samples_needed(max_drop, 0.95) == needed
    assert upper_bound(0, needed, 0.95) <= max_drop < upper_bound(0, needed - 1, 0.95)


@given(losses=st.integers(0, 60), max_drop=st.sampled_from([0.005, 0.01, 0.05]))
def test_losses_that_can_be_counted_are_tested_exactly(losses: int, max_drop: float) -> None:
    """The test passes just where the upper bound does."""
    passes = doubt(losses, 1000, max_drop, binary=True) <= 0.05

    assert passes == (upper_bound(losses, 1000, 0.95) <= max_drop)


@given(losses=st.floats(0, 60), max_drop=st.sampled_from([0.005, 0.01, 0.05]))
def test_losses_in_between_are_never_trusted_more_than_counted_ones(losses: float, max_drop: float) -> None:
    """A bound that holds for every spread of losses is wider than the one for 0 and 1."""
    counted = doubt(math.floor(losses), 1000, max_drop, binary=True)

    assert doubt(losses, 1000, max_drop, binary=False) >= counted * (1 - 1e-9)


def test_a_mean_loss_above_the_bound_proves_nothing() -> None:
    """All doubt remains."""
    assert doubt(30.5, 1000, 0.02, binary=False) == 1


def test_bad_counts_are_named_together() -> None:
    """All at once, with what they should be."""
    with pytest.raises(BadDocument) as refusal:
        accuracy_interval(3, 0, 1.5)

    assert [problem.split(":")[0] for problem in refusal.value.problems] == [
        "samples",
        "events",
        "confidence",
    ]


def test_bad_bounds_are_named_together() -> None:
    """A drop and a confidence are shares."""
    with pytest.raises(BadDocument, match=r"max_drop: 1.*confidence: 95"):
        samples_needed(1, 95)
