"""Thresholds: the path walked, and what is proven on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.serve.calibrate_evidence import Evidence
from partita.serve.calibrate_thresholds import NEVER, certify, common_path, exits_taken, learned_path


def honest(samples: int, seed: int, *, power: float = 1.0) -> Evidence:
    """Three exits; the last is always right, the others wrong as often as (1 - confidence)^power says."""
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(size=(3, samples))
    worth = (draw.uniform(size=(3, samples)) >= (1 - confidence) ** power).astype(float)
    worth[-1] = 1
    return Evidence(confidence, worth)


def test_a_sample_leaves_at_the_first_exit_that_is_sure_enough() -> None:
    """At the threshold is enough; whoever is sure nowhere leaves at the last."""
    confidence = np.array([[0.9, 0.5, 0.1], [0.0, 0.8, 0.1], [0.0, 0.0, 0.0]])

    assert exits_taken(confidence, (0.9, 0.8, 0.5)).tolist() == [0, 1, 2]


def test_the_common_path_goes_from_hardly_ever_to_always() -> None:
    """One threshold for all exits, and the last always answers."""
    path = common_path(3)

    assert path[0].tolist() == pytest.approx([0.999999, 0.999999, 0])
    assert path[-1].tolist() == [0, 0, 0]
    assert (np.diff(path, axis=0) <= 0).all()


def test_a_learned_path_grows_ever_greedier() -> None:
    """No exit becomes stricter on the way, and the first step hardly lets anybody go."""
    path = learned_path(honest(500, 1), (1.0, 2.0, 3.0))

    assert (np.diff(path, axis=0) <= 0).all()
    assert (path[0, :-1] > 0.99).all()


def test_a_learned_path_trusts_the_honest_exit_more_than_the_boaster() -> None:
    """Exit 0 claims to be sure and is often wrong; exit 1 is right more often than it claims."""
    draw = np.random.default_rng(3)
    confidence = np.tile(draw.uniform(size=2000), (3, 1))
    worth = np.ones((3, 2000))
    worth[0] = draw.uniform(size=2000) >= np.sqrt(1 - confidence[0])
    worth[1] = draw.uniform(size=2000) >= (1 - confidence[1]) ** 3
    path = learned_path(Evidence(confidence, worth), (1.0, 1.0, 2.0))
    middle = path[(path[:, 1] > 0.3) & (path[:, 1] < 0.9)]

    assert len(middle) > 5
    assert (middle[:, 0] > middle[:, 1]).all()


def test_an_exit_that_saves_nothing_hardly_ever_answers() -> None:
    """Exit 1 costs as much as the last: at the prices where exit 0 answers always, it still does not."""
    path = learned_path(honest(500, 1), (1.0, 3.0, 3.0))

    assert (path[path[:, 0] > 0][:, 1] > 0.99).all()


def test_a_path_is_learned_even_where_nothing_was_ever_lost() -> None:
    """Few samples without a loss say little: the path still ends greedy and starts safe."""
    path = learned_path(Evidence(np.full((2, 50), 0.9), np.ones((2, 50))), (1.0, 2.0))

    assert path[0, 0] > 0.99
    assert path[-1, 0] == 0


def test_certified_thresholds_lose_no_more_than_was_asked_on_their_own_samples() -> None:
    """The counted loss lies below the bound by the margin that its proof needs."""
    evidence = honest(3000, 5)
    found = certify(evidence, common_path(3), 0.02, 0.95)

    assert found is not None
    assert 0 < found.losses / found.samples < 0.02
    assert found.losses == evidence.lost(exits_taken(evidence.confidence, found.thresholds)).sum()


@given(small=st.floats(0.002, 0.1), more=st.floats(0, 0.1))
def test_who_allows_more_gets_no_stricter_thresholds(small: float, more: float) -> None:
    """The walk ends no earlier."""
    evidence = honest(2000, 7)
    strict = certify(evidence, common_path(3), small, 0.95)
    loose = certify(evidence, common_path(3), small + more, 0.95)

    assert strict is None or (loose is not None and loose.tried >= strict.tried)


def test_nothing_is_certified_where_even_the_safest_step_fails() -> None:
    """Every answer of exit 0 is wrong and sure."""
    evidence = Evidence(np.ones((2, 500)), np.array([[0.0], [1.0]]).repeat(500, axis=1))

    assert certify(evidence, common_path(2), 0.05, 0.95) is None


def test_losses_between_zero_and_one_are_certified_too() -> None:
    """By the wider bound, so at stricter thresholds than counted ones of the same mean."""
    draw = np.random.default_rng(1)
    confidence = draw.uniform(size=(2, 4000))
    evidence = Evidence(confidence, np.stack([1 - 0.3 * (1 - confidence[0]), np.ones(4000)]))
    found = certify(evidence, common_path(2), 0.02, 0.95)

    assert found is not None
    assert 0 < found.thresholds[0] < 1


def test_the_bound_holds_in_at_least_the_share_stated_of_fresh_draws() -> None:
    """The true loss of leaving at confidence t is known here: the mean of 1 - c above t is (1 - t)^2 / 2."""
    broken = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        confidence = draw.uniform(size=(2, 1000))
        right = draw.uniform(size=1000) < confidence[0]
        found = certify(Evidence(confidence, np.stack([right, np.ones(1000)])), common_path(2), 0.05, 0.9)
        assert found is not None
        broken += (1 - found.thresholds[0]) ** 2 / 2 > 0.05
    # 20 are expected at the most; 29 or more would come by chance in 2.5% of such tests.
    assert 0 < broken < 29


def test_never_is_above_every_confidence() -> None:
    """An exit with this threshold does not answer, however sure."""
    assert exits_taken(np.ones((2, 1)), (NEVER, 0.0)).tolist() == [1]
