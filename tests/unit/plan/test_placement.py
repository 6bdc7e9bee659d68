"""The Plan: what it refuses, and what it says about itself."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument, IllegalCut, PlanMismatch
from partita.graph import dump, load
from partita.plan import Estimate, Hop, PlacedPart, Plan


def plan_of(*parts, **keywords):
    placed = tuple(PlacedPart(*part) for part in parts)
    return Plan("toy", "", placed, tuple(Hop() for _ in placed[1:]), **keywords)


def test_a_plan_survives_json_with_its_estimate():
    """What is dumped loads to an equal plan."""
    cost = Estimate(
        1.0, 2.0, {"edge compute": 1.0}, "edge compute", 3, 4, {"edge": 5}, {"edge": 6.0}, 0.1, True
    )
    plan = plan_of(("edge", 0, 2), ("cloud", 2, 5), window=2, batch=8, mode="train", estimate=cost)
    assert load(Plan, dump(plan)) == plan
    assert len({plan, load(Plan, dump(plan))}) == 1


def test_all_bad_fields_are_reported_at_once():
    """A plan with many faults names each of them."""
    with pytest.raises(BadDocument) as caught:
        Plan(
            "toy",
            "",
            (
                PlacedPart("edge", 1, 2),
                PlacedPart("cloud", 3, 3),
                PlacedPart("cloud", 3, 2),
                PlacedPart("", 2, 4),
            ),
            (Hop("no codec", "raw"),),
            window=-1,
            batch=0,
        )
    text = str(caught.value)
    for said in (
        "parts[0].start: is 1",
        "but the part before stops at 2",
        "'cloud' follows itself",
        "ends before it starts",
        "place: is empty",
        "parts[1]: is empty",
        "hops: there are 1",
        "window: -1",
        "batch: 0",
        "no codec's name",
    ):
        assert said in text


def test_a_plan_needs_parts():
    """A plan without parts is refused."""
    with pytest.raises(BadDocument, match="parts: there are none"):
        Plan("toy", "", ())


@pytest.mark.parametrize(
    ("parts", "shape", "cuts"),
    [
        ([("edge", 0, 5)], "edge-only", ()),
        ([("edge", 0, 0), ("cloud", 0, 5), ("edge", 5, 5)], "cloud-only", ()),
        ([("edge", 0, 2), ("cloud", 2, 4), ("edge", 4, 5)], "edge|cloud|edge", (2, 4)),
        ([(f"fn-{i}", i, i + 1) for i in range(4)], "4 parts", (1, 2, 3)),
    ],
)
def test_a_plan_knows_its_shape(parts, shape, cuts):
    """One noun covers edge-only, cloud-only, two cuts and a row."""
    plan = plan_of(*parts)
    assert (plan.shape, plan.cuts) == (shape, cuts)
    assert plan.places == tuple(dict.fromkeys(part[0] for part in parts))


def test_a_plan_for_another_model_is_refused(line):
    """The digest decides, not the name."""
    chain = line([1, 2, 3])
    plan = Plan("toy", "sha256:other", (PlacedPart("edge", 0, 2),))
    with pytest.raises(PlanMismatch, match="belongs to 'toy'"):
        plan.check(chain)


def test_every_illegal_cut_of_a_plan_is_named(line):
    """Blocked positions and a wrong number of stages come in one error."""
    chain = line([1, 2, 3, 4], blocked={1: "a residual is open", 2: "another is"})
    with pytest.raises(IllegalCut) as caught:
        plan_of(("a", 0, 1), ("b", 1, 2), ("c", 2, 4)).check(chain)
    for said in ("covers 4 stages and the model has 3", "a residual is open", "another is"):
        assert said in str(caught.value)


def test_a_legal_plan_passes(line):
    """A plan with the model's digest and legal cuts is accepted."""
    chain = line([1, 2, 3])
    Plan("toy", chain.digest, (PlacedPart("a", 0, 1), PlacedPart("b", 1, 2)), (Hop(),)).check(chain)
