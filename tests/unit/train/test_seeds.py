"""Seeds of steps and parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partita.train.seeds import step_seed

NUMBERS = st.integers(0, 2**40)


@given(NUMBERS, NUMBERS, st.integers(-1, 500))
def test_a_seed_is_what_every_generator_takes(seed: int, step: int, part: int) -> None:
    """Zero or more, below 2 to the 63."""
    assert 0 <= step_seed(seed, step, part) < 2**63


def test_a_seed_is_the_same_on_every_machine_and_in_every_version() -> None:
    """A training goes on after an update: these numbers may not change."""
    assert step_seed(0, 0) == 7669641054330217337
    assert step_seed(7, 12, 3) == 8937335386234627850


def test_steps_parts_and_trainings_have_seeds_of_their_own() -> None:
    """No two are alike."""
    seeds = {
        step_seed(seed, step, part) for seed in range(10) for step in range(100) for part in range(-1, 5)
    }

    assert len(seeds) == 10 * 100 * 6
