"""The arms of a case: those of every comparison, and what a question forbids."""

import pytest

from partita.graph import Link
from partita.testing.cases import made_case
from partita.train.simulate_arms import case_arms, forbidden

LINK = Link(20e6, 20e6, 0.01)
TURNED = {"inputs_at_cloud": True, "labels_private": True, "min_tail": 1}


def plans(case, link=LINK):
    return {arm.name: arm.plan for arm in case_arms(case, link)}


def test_every_arm_is_a_plan_of_the_same_engine():
    found = plans(made_case())

    assert {"edge only", "cloud only", "JointDNN", "paper", "window only", "codecs only"} <= found.keys()
    assert list(found)[-1] == "auto"
    assert all(plan.mode == "train" and plan.batch == 10 for plan in found.values())


def test_the_paper_compresses_features_and_not_gradients():
    """8 Mbit/s up, a fast way down: only the features are worth a codec."""
    hops = plans(made_case(min_front=1), Link(8e6, 1e9))["paper"].hops

    assert [(hop.forward, hop.back) for hop in hops] == [("int8", "raw")]


def test_without_its_codec_the_paper_sends_features_as_they_are():
    hops = plans(made_case(codecs=("raw",), min_front=1), Link(8e6, 1e9))["paper"].hops

    assert {hop.back for hop in hops} <= {"raw"}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"min_front": 1}, "the first stages stay at the edge, and with them the raw inputs"),
        ({"min_tail": 1}, "the last stages stay at the edge"),
        (TURNED, "the loss stays at the edge"),
    ],
)
def test_what_must_stay_at_the_edge_rules_the_cloud_alone_out(asked, reason):
    case = made_case(**asked)

    assert "cloud only" not in plans(case)
    assert forbidden(case.question) == {"cloud only": reason}


def test_where_nothing_is_private_nothing_is_forbidden():
    assert forbidden(made_case().question) == {}


def test_with_the_inputs_in_the_cloud_the_front_is_there():
    found = plans(made_case(**TURNED), Link(1e9, 1e9))

    assert {found[arm].parts[0].place for arm in ("JointDNN", "paper", "auto")} == {"cloud"}
    assert "vanilla split" not in found


def test_with_the_inputs_in_the_cloud_the_edge_alone_is_not_forgotten():
    """The search for such a cloud does not know it; over a dead link it is the best there is."""
    assert {plan.shape for plan in plans(made_case(**TURNED), Link(1e3, 1e3)).values()} == {"edge-only"}


def test_no_arm_is_better_than_auto_but_for_what_it_weighs():
    """A question without prices for windows and errors: `auto` is the fastest."""
    for rate in (1e6, 5e6, 20e6, 100e6, 1e9):
        case, link = made_case(max_window=5), Link(rate, rate, 0.02)
        found = {name: case.pace(plan, link) for name, plan in plans(case, link).items()}

        assert found["auto"] <= min(found.values()) * 1.006
