"""A case: its sources, its devices at a moment, its time per step."""

import pytest

from partita.errors import ProfileMismatch
from partita.graph import Link
from partita.plan import PlacedPart, Plan
from partita.testing.cases import made_case, made_chain, made_profile
from partita.train import Case, parse_slowdowns, slower
from partita.train.simulate_moments import Moment

ALONE = Plan("made", "", (PlacedPart("edge", 0, 4),), (), 0, 10, "train")


def test_a_case_says_where_its_numbers_are_from():
    assert made_case().sources == {"edge": "small: made up", "cloud": "large: made up", "link": "modelled"}


def test_the_edge_comes_first_and_a_training_is_asked_for():
    case = made_case()
    turned = Case("x", case.chain, dict(reversed(case.profiles.items())), case.question)

    assert list(turned.profiles) == ["edge", "cloud"]
    assert turned.question.mode == "train"


def test_profiles_of_another_model_are_refused():
    case = made_case()
    other = made_chain((1, 2, 3))

    with pytest.raises(ProfileMismatch):
        Case("x", case.chain, {**case.profiles, "cloud": made_profile(other, (1.0, 1.0))}, case.question)


def test_at_a_moment_devices_are_as_slow_as_it_says():
    case, link = made_case(), Link(1e6, 1e6)

    assert case.at(Moment(0.0, link)) == case
    assert case.at(Moment(0.0, link, edge=3.0)).pace(ALONE, link) == pytest.approx(0.9)


def test_who_is_slow_for_good_is_another_device():
    """What lasts for a while is left to the trace; what is not slower keeps its name."""
    link, slow = Link(1e6, 1e6), parse_slowdowns(["edge=2", "edge=2", "cloud=9@5s"])
    found = slower(made_case(), slow)

    assert found.pace(ALONE, link) == pytest.approx(1.2)
    assert found.sources["edge"] == "small x4: modelled: made up, 4 times slower"
    assert found.sources["cloud"] == "large: made up"
