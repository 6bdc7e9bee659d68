"""Rows of places: the dynamic programme finds what trying every way finds."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.errors import BadDocument, Infeasible
from partita.graph import Link
from partita.plan import CodecOption, Limits, Overhead, PlacedPart, Plan, Pricing, Question, search_parts
from partita.plan.estimate import excess

OBJECTIVES = ("parts", "latency", "memory", "bytes", "throughput", "energy")


def every_row(chain, places, most):
    """Every way to lay the chain over places in order; one place is supplied as often as asked."""
    legal = [cut.position for cut in chain.cuts if cut.legal and 0 < cut.position < len(chain)]
    for count in range(1, most + 1):
        for cuts in combinations(legal, count - 1):
            ends = [0, *cuts, len(chain)]
            for chosen in combinations(range(most), count) if len(places) > 1 else [range(count)]:
                names = [places[i] if len(places) > 1 else f"{places[0]}-{i + 1}" for i in chosen]
                yield tuple(PlacedPart(n, a, b) for n, a, b in zip(names, ends, ends[1:], strict=False))


def value(objective, plan, cost):
    load = list(cost.busy.values())
    return {
        "parts": len(plan.parts),
        "latency": cost.latency,
        "memory": max(cost.memory.values()),
        "bytes": cost.bytes,
        "throughput": max(load),
        "energy": sum(cost.joules.values()),
    }[objective]


@pytest.mark.parametrize("supply", [True, False])
@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_best_row_equals_that_of_trying_every_row(data, objective, supply, problem, profiled):
    """For every objective, over three places in a row or three equal ones, nothing beats what is found."""
    case = problem(data.draw, "throughput")
    names = ["fn"] if supply else ["p", "q", "r"]
    seconds = st.lists(st.floats(0.01, 1), min_size=len(case.chain), max_size=len(case.chain))
    profiles = {n: profiled(case.chain, data.draw(seconds), joules=2.0) for n in names}
    bound = st.sampled_from([None, 500, 2000])
    limits = {
        n: Limits(memory=data.draw(bound), package=data.draw(bound), payload_in=data.draw(bound))
        for n in names
    }
    question = Question(objective=objective, codecs=("raw",), overhead=Overhead(0.01, 0.002, 5, 0.1))
    link = Link(1e5, 1e5, 0.02)
    try:
        best = search_parts(case.chain, profiles, link, question, limits=limits, max_parts=3)
    except Infeasible:
        best = None
    places = {f"fn-{i}": profiles["fn"] for i in (1, 2, 3)} if supply else profiles
    bounds = {n: limits["fn" if supply else n] for n in places}
    pricing = Pricing.of(case.chain, places, link, question)
    found = []
    for parts in every_row(case.chain, names, 3):
        plan = Plan("toy", case.chain.digest, parts, tuple([_raw()] * (len(parts) - 1)))
        cost = pricing.estimate(plan, simulated=False)
        if not excess(_needs(pricing, plan), bounds):
            found.append(value(objective, plan, cost))
    if best is None:
        assert not found
    else:
        assert value(objective, best, best.estimate) == pytest.approx(min(found), rel=1e-6, abs=1.01)


def _raw():
    from partita.plan import Hop

    return Hop("raw")


def _needs(pricing, plan):
    """The needs of a row: what comes in first and goes out last counts against payloads too."""
    needs = pricing.needs(plan)
    chain, extra = pricing.model.chain, pricing.question.overhead
    given = sum(pricing.model.size[n] for n in (t.name for t in chain.cuts[0].tensors))
    first = needs[plan.parts[0].place]
    first["payload_in"] = max(first["payload_in"], (given + extra.bytes) * (1 + extra.share))
    return needs


def test_limits_decide_how_many_equal_places_it_takes(line, profiled):
    """Four stages of 100 to 400 bytes of weights fit three packages of 400 bytes, and no fewer."""
    chain = line([10, 10, 10, 10, 10])
    best = search_parts(
        chain,
        {"fn": profiled(chain, [1, 1, 1, 1])},
        Link(1e6, 1e6),
        Question(objective="parts", codecs=("raw",)),
        limits={"fn": Limits(package=400)},
    )
    assert str(best).startswith("fn-1[0:2] -raw-> fn-2[2:3] -raw-> fn-3[3:4] |")


def test_a_store_carries_the_inputs_and_the_answer_too(line, profiled):
    """Two parts hand on one tensor; through a store, four are written or read: x, h1 twice, and the answer."""
    chain = line([10, 10, 10, 10])
    profiles, limits = {"fn": profiled(chain, [1, 1, 1])}, {"fn": Limits(package=300)}
    question = Question(objective="parts", codecs=("raw",))
    along = search_parts(chain, profiles, Link(1e6, 1e6), question, limits=limits)
    stored = search_parts(chain, profiles, Link(1e6, 1e6), question, limits=limits, transport="store")
    assert (along.estimate.bytes, stored.estimate.bytes) == (40, 160)


def test_a_stage_that_fits_nowhere_is_named(line, profiled):
    """The error names the limit, the stage, and by how much it is missed."""
    chain = line([10, 10, 10])
    with pytest.raises(Infeasible, match=r"package at fn: 's1' takes 200 B of 150 B \(1.33x\)"):
        search_parts(
            chain, {"fn": profiled(chain, [1, 1])}, Link(1e6, 1e6), limits={"fn": Limits(package=150)}
        )


def test_too_few_parts_are_infeasible_with_the_span_that_is_hardest(line, profiled):
    """With fewer parts than the limits need, the error tells which span is too large."""
    chain = line([10, 10, 10])
    with pytest.raises(Infeasible, match=r"'s0' to 's1' takes 300 B of 200 B"):
        search_parts(
            chain,
            {"fn": profiled(chain, [1, 1])},
            Link(1e6, 1e6),
            limits={"fn": Limits(package=200)},
            max_parts=1,
        )


def test_bad_questions_about_rows_are_refused_together(line, profiled):
    """Training, no parts at all and limits of an unknown place are named in one error."""
    chain = line([10, 10])
    with pytest.raises(BadDocument) as caught:
        search_parts(
            chain,
            {"fn": profiled(chain, [1])},
            Link(1e6, 1e6),
            Question(mode="train"),
            limits={"nowhere": Limits()},
            max_parts=0,
        )
    assert len(caught.value.problems) == 3
    with pytest.raises(BadDocument, match="there are none"):
        search_parts(chain, {}, Link(1e6, 1e6))


def test_an_objective_of_energy_needs_a_meter(line, profiled):
    """A place without energy is refused by name, for the objective and for a limit in joules."""
    chain = line([10, 10])
    places = {"fn": profiled(chain, [1])}
    for question, limits in ((Question(objective="energy"), None), (Question(), {"fn": Limits(joules=1)})):
        with pytest.raises(BadDocument, match="has no energy"):
            search_parts(chain, places, Link(1e6, 1e6), question, limits=limits)


def test_a_throughput_row_fills_its_pipeline(line, profiled):
    """With as many steps under way as parts, a step takes what the slowest part or hop takes."""
    chain = line([10, 10, 10])
    profiles = {"a": profiled(chain, [1, 1]), "b": profiled(chain, [1, 1])}
    options = {"half": CodecOption(factor=0.5)}
    best = search_parts(chain, profiles, Link(1e6, 1e6), Question(codecs=("half",), options=options))
    assert best.window == 1
    assert best.estimate.seconds == pytest.approx(1.006, rel=1e-2)
