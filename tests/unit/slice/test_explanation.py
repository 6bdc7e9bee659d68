"""Plans of slices in words, and what other plans would give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partita.errors import PlanMismatch
from partita.graph import Chain, Device, DType, Profile, Stage, StageCost, TensorSpec, Timing
from partita.plan import Limits, Platform, Prices
from partita.slice.explanation import alternatives, explain
from partita.slice.question import SliceQuestion
from partita.slice.searching import search

PLACE = Platform(
    "place",
    "a place",
    Limits(package=90, runtime_memory=100),
    memory_least=512,
    memory_step=64,
    store=0.01,
    store_rate=1e6,
    prices=Prices(gb_second=1.0),
)
NAMES = ("x", "a", "b", "c", "y")


def four(size=50):
    tensors = {n: TensorSpec(n, DType.INT8, (size,)) for n in NAMES}
    rows = zip(NAMES, NAMES[1:], ("w", "v", "u", "w"), strict=False)
    stages = tuple(Stage(f"s{i}", (read,), (made,), (w,)) for i, (read, made, w) in enumerate(rows))
    return Chain("four", "none", stages, tensors, ("x",), ("y",), {"w": 40, "v": 40, "u": 40})


def timed(chain):
    stages = tuple(StageCost(s.name, {1: Timing(0.5)}) for s in chain.stages)
    return Profile("m", chain.digest, Device("d"), stages, StageCost("whole", {}))


def test_every_slice_has_a_line_and_its_reason() -> None:
    """What it holds, what comes and goes, and why it ends where it ends."""
    chain = four()
    text = explain(search(chain, SliceQuestion(PLACE, transport="inline")), chain)

    assert text.splitlines() == [
        "four on place: 2 slices, as few as fit, transport inline",
        "  slice 0 [0:2] s0 .. s1: weights 80 B, memory 770 B, function of 832 B, event 50 B in, 50 B out",
        "    ends here: package: with 's2' it would be 120 B of 90 B",
        "  slice 1 [2:4] s2 .. s3: weights 80 B, memory 770 B, function of 832 B, event 50 B in, 50 B out",
        "    ends here: the model ends here",
        "total: 50 B between slices, largest slice 80 B, most memory 770 B, 40 B of weights in more than one slice",
    ]


def test_what_is_stored_and_measured_is_told_where_it_exists() -> None:
    """Store, seconds and dollars appear with the plans that have them."""
    chain = four()
    question = SliceQuestion(PLACE, transport="store", objective="latency", function_memory=832)
    text = explain(search(chain, question, profile=timed(chain)), chain)

    assert "store 0 B in, 50 B out, 1 s" in text
    assert "store 50 B in, 0 B out, 1 s" in text
    assert "through the store: b" in text
    assert "warm 2.02 s" in text
    assert "slowest slice 1.01 s" in text
    assert "per million requests" in text


def test_a_plan_without_totals_and_with_notes_is_told_too() -> None:
    """One slice is one slice; notes and other plans follow."""
    chain = four()
    place = replace(PLACE, limits=Limits(), memory_least=0, memory_step=1)
    plan = search(chain, SliceQuestion(place))
    lines = explain(replace(plan, totals=None), chain, [plan, replace(plan, totals=None)]).splitlines()

    assert lines[0] == "four on place: 1 slice, as few as fit, transport auto"
    assert "function of" not in lines[1]
    assert lines[-3:] == [
        "note: one slice holds the whole model, and nothing has to cross",
        "other: 1 slice, auto: 0 B between slices, largest slice 120 B, most memory 710 B",
        "other: 1 slice, auto",
    ]


def test_a_plan_of_another_model_is_refused() -> None:
    """Words about stages that are not there would be wrong."""
    with pytest.raises(PlanMismatch):
        explain(search(four(), SliceQuestion(PLACE)), four(51))


@pytest.mark.parametrize(
    ("objective", "worth"),
    [
        ("slices", lambda p: len(p.slices)),
        ("payload", lambda p: p.totals.payload),
        ("memory", lambda p: p.totals.memory),
        ("latency", lambda p: p.totals.warm),
        ("cost", lambda p: p.totals.dollars),
        ("throughput", lambda p: p.totals.bottleneck),
    ],
)
def test_other_plans_stand_in_the_order_of_the_wish(objective, worth) -> None:
    """Other numbers of slices and other transports, the best first, none twice."""
    chain = four()
    question = SliceQuestion(PLACE, objective=objective)
    others = alternatives(chain, question, timed(chain))
    worths = [worth(plan) for plan in others]

    assert worths == sorted(worths)
    assert {len(plan.slices) for plan in others} >= {3, 4}
    assert {bool(plan.stored) for plan in others} == {True, False}
    assert len({(plan.cuts, plan.stored) for plan in others}) == len(others)
    best = search(chain, question, profile=timed(chain))
    assert worth(best) == pytest.approx(worths[0])


def test_cold_requests_are_ranked_as_cold() -> None:
    """The first plan is the one that starts fastest."""
    chain = four()
    question = SliceQuestion(replace(PLACE, start=3.0), objective="latency", cold=True)
    others = alternatives(chain, question, timed(chain))

    assert others[0].totals.cold == min(plan.totals.cold for plan in others)


def test_where_nothing_fits_neighbours_are_still_looked_for() -> None:
    """Too few slices asked for: the next numbers are what helps."""
    chain = four()
    others = alternatives(chain, SliceQuestion(PLACE, slices=1, transport="inline"))

    assert {len(plan.slices) for plan in others} == {2, 3}
    assert alternatives(chain, SliceQuestion(replace(PLACE, limits=Limits(package=1)))) == ()


def test_only_transports_of_the_platform_are_offered() -> None:
    """Without a store there is one way."""
    others = alternatives(four(), SliceQuestion(replace(PLACE, store=0.0, store_rate=0.0)))

    assert {plan.stored for plan in others} == {()}
