"""Made-up traces."""

import pytest

from partita.errors import BadDocument
from partita.train.simulate_made import KINDS, made_moments


@pytest.mark.parametrize("kind", KINDS)
def test_a_made_trace_begins_at_zero_and_goes_on(kind):
    rows = made_moments(f"made:{kind}", shared=True)
    times = [row.at for row in rows]

    assert times[0] == 0.0
    assert times == sorted(set(times))
    assert all(1e6 <= row.link.up <= 200e6 and row.link.shared for row in rows)


def test_a_seed_decides_the_walk():
    assert made_moments("made:wifi", seed=1) == made_moments("made:wifi", seed=1)
    assert made_moments("made:wifi", seed=1) != made_moments("made:wifi", seed=2)


def test_the_round_trip_is_the_one_asked_for():
    assert {row.link.rtt for row in made_moments("made:step", rtt=0.04)} == {0.04}
    assert {row.link.rtt for row in made_moments("made:train")} == {0.06}


def test_other_names_are_refused_with_those_there_are():
    with pytest.raises(BadDocument, match="made:step, made:wifi, made:train"):
        made_moments("made:snow")
