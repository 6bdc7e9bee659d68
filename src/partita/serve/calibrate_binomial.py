"""Exact statements about shares: what a count of samples proves about the world it was drawn from.

Rules: exact and conservative (Clopper and Pearson), never a normal approximation, because the losses that matter here
are a handful in thousands; bare `math`, no statistics library; samples are taken to be exchangeable, which is the
caller's to see to.
"""

from __future__ import annotations

import math
from typing import Final

from ..errors import BadDocument

_SMALLEST: Final = 1e-300
_PRECISION: Final = 1e-14
# The fraction converges in about the square root of the larger parameter: enough for 10^10 samples.
_MOST_TERMS: Final = 200_000
# Each step halves the interval: 2^-60 is finer than a share of any sample.
_HALVINGS: Final = 60


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b): the chance that a Beta(a, b) value is at most x."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    # The fraction converges fast on one side of the mean only; the other side is its mirror.
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta_below_mean(1.0 - x, b, a)
    return _beta_below_mean(x, a, b)


def beta_quantile(share: float, a: float, b: float) -> float:
    """The x at which `beta_cdf(x, a, b)` reaches a share, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def binomial_cdf(count: int, samples: int, chance: float) -> float:
    """The chance of at most `count` events in `samples` independent draws."""
    if count < 0:
        return 0.0
    if count >= samples:
        return 1.0
    return beta_cdf(1.0 - chance, samples - count, count + 1)


def upper_bound(events: int, samples: int, confidence: float) -> float:
    """What the true share of events stays below, with this confidence (Clopper-Pearson, one side)."""
    _check(events, samples, confidence)
    if events == samples:
        return 1.0
    return beta_quantile(confidence, events + 1, samples - events)


def accuracy_interval(right: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two ends between which the true share lies, with at least this confidence (Clopper-Pearson)."""
    _check(right, samples, confidence)
    rest = (1 - confidence) / 2
    low = beta_quantile(rest, right, samples - right + 1) if right else 0.0
    high = beta_quantile(1 - rest, right + 1, samples - right) if right < samples else 1.0
    return low, high


def samples_needed(max_drop: float, confidence: float) -> int:
    """The fewest samples that can prove a share of at most `max_drop`: those that do when not one of them is lost."""
    problems = []
    if not 0 < max_drop < 1:
        problems.append(f"max_drop: {max_drop!r} is not between 0 and 1")
    if not 0 < confidence < 1:
        problems.append(f"confidence: {confidence!r} is not between 0 and 1")
    if problems:
        raise BadDocument("bound", problems, fix="give shares, as in max_drop=0.01, confidence=0.95")
    return math.ceil(math.log(1 - confidence) / math.log1p(-max_drop))


def doubt(losses: float, samples: int, max_drop: float, *, binary: bool) -> float:
    """The chance to see losses this small if their true mean were above `max_drop`: a p-value.

    Losses of 0 or 1 are counted exactly: the value is at most 1 - c just where Clopper and Pearson's upper bound at
    confidence c is at most `max_drop`. For losses between 0 and 1 it is the smaller of Hoeffding's bound, in its
    relative entropy form, and Bentkus' (e times the binomial).
    """
    if binary:
        return binomial_cdf(round(losses), samples, max_drop)
    mean = losses / samples
    if mean >= max_drop:
        return 1.0
    bentkus = math.e * binomial_cdf(math.ceil(losses - 1e-9), samples, max_drop)
    entropy = (1 - mean) * math.log((1 - mean) / (1 - max_drop))
    if mean > 0:
        entropy += mean * math.log(mean / max_drop)
    return min(1.0, bentkus, math.exp(-samples * entropy))


def _beta_below_mean(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    top, bottom = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = bottom
    m, change = 1, 0.0
    while abs(change - 1.0) > _PRECISION and m < _MOST_TERMS:
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        bottom = 1.0 / _away_from_zero(1.0 + even * bottom)
        top = _away_from_zero(1.0 + even / top)
        value *= bottom * top
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        bottom = 1.0 / _away_from_zero(1.0 + odd * bottom)
        top = _away_from_zero(1.0 + odd / top)
        change = bottom * top
        value *= change
        m += 1
    return min(1.0, math.exp(scale) * value / a)


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST


def _check(events: int, samples: int, confidence: float) -> None:
    problems = []
    if samples < 1:
        problems.append(f"samples: {samples!r} is not 1 or more")
    if not 0 <= events <= samples:
        problems.append(f"events: {events!r} of {samples!r} samples")
    if not 0 < confidence < 1:
        problems.append(f"confidence: {confidence!r} is not between 0 and 1")
    if problems:
        raise BadDocument("share", problems, fix="give counts and a confidence between 0 and 1, as in 0.95")
