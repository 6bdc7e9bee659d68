"""The search finds what trying every plan finds."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.errors import BadDocument, Infeasible, ProfileMismatch
from partita.graph import Chain, DType, Link, Stage, TensorSpec
from partita.plan import (
    Hop,
    Limits,
    Objective,
    Overhead,
    PlacedPart,
    Plan,
    Pricing,
    Question,
    estimate,
    search,
    search_parts,
)
from partita.plan.estimate import excess
from partita.plan.objective import keys_of


def best_of_all(case, every_plan):
    pricing = Pricing.of(case.chain, case.profiles, case.link, case.question)
    rows = [
        (keys_of(case.question, "edge", plan, pricing.estimate(plan, simulated=False)), plan)
        for plan in every_plan(case.chain, case.question)
        if not excess(pricing.needs(plan), case.limits)
    ]
    return sorted(rows, key=lambda row: row[0])


@pytest.mark.parametrize("objective", get_args(Objective))
@settings(max_examples=45, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_best_plan_equals_that_of_trying_every_plan(data, objective, problem, every_plan):
    """For every objective, mode and limit, no plan that could be named is better than the one found."""
    case = problem(data.draw, objective)
    rows = best_of_all(case, every_plan)
    try:
        ranking = search(case.chain, case.profiles, case.link, case.question, limits=case.limits)
    except Infeasible:
        assert not rows
        return
    assert ranking.alternatives[0].score == pytest.approx(rows[0][0][0], rel=1e-6, abs=0.51)
    found = keys_of(case.question, "edge", ranking.best, ranking.best.estimate)
    assert found[:2] == pytest.approx(rows[0][0][:2], rel=1e-6, abs=1e-9)


@pytest.fixture
def case(line, profiled):
    """Six stages, small in the middle: an edge, a cloud eight times faster, a slow link."""
    chain = line([500, 400, 40, 60, 60, 30, 5])
    profiles = {
        "edge": profiled(chain, [0.02] * 6, joules=3.0, name="pi"),
        "cloud": profiled(chain, [0.0025] * 6, joules=9.0, name="server"),
    }
    return chain, profiles, Link(2e4, 2e4, 0.01)


def test_the_ranking_holds_the_baselines_whatever_their_rank(case):
    """Edge-only and cloud-only are listed even where only one plan is asked for."""
    ranking = search(*case, Question(), top=1)
    assert {a.plan.shape for a in ranking.alternatives if a.baseline} == {"edge-only", "cloud-only"}
    scores = [a.score for a in ranking.alternatives]
    assert scores == sorted(scores)


def test_the_middle_cut_wins_where_little_crosses(case):
    """The narrowest tensor is where the model is cut."""
    chain, profiles, _ = case
    best = search(chain, profiles, Link(1e5, 1e5, 0.01), Question(objective="latency", codecs=("raw",))).best
    assert str(best).startswith("edge[0:2] -raw-> cloud[2:6] -raw-> edge |")


def test_a_codec_nobody_measured_is_left_out_and_named(case):
    """Costs are never guessed: the note says which profiles lack the codec."""
    ranking = search(*case, Question(codecs=("raw", "fp16")))
    assert ranking.notes == (
        "codec fp16 was left out: the profile of edge and cloud does not say what it costs",
    )
    with pytest.raises(BadDocument, match="fp16 was left out"):
        search(*case, Question(codecs=("fp16",)))


def test_an_error_bound_leaves_out_what_loses_more(case):
    """With no loss allowed, raw alone is left."""
    ranking = search(*case, Question(codecs=("raw", "int8"), max_error=0.0))
    assert {hop.forward for a in ranking.alternatives for hop in a.plan.hops} == {"raw"}


def test_limits_filter_and_the_missing_baseline_is_explained(case):
    """A plan over a limit is no alternative; the note says by how much it is over."""
    ranking = search(*case, Question(), limits={"edge": Limits(package=1000)})
    assert all(a.estimate.memory["edge"] for a in ranking.alternatives if a.plan.parts[0].stop)
    assert "edge-only does not fit: package at edge takes 2.1 KB of 1 KB (2.1x)" in ranking.notes


def test_no_plan_at_all_names_the_limit_the_stage_and_the_way_out(case):
    """Infeasible says what is missed by how much, at which stage, and what to raise."""
    with pytest.raises(Infeasible) as caught:
        search(*case, Question(), limits={"edge": Limits(package=10), "cloud": Limits(package=2000)})
    text = str(caught.value)
    assert "package at cloud takes 2.1 KB of 2 KB (1.05x)" in text
    assert "the stage that weighs most there is 5 ('s5')" in text
    assert "raise package at cloud to 2.12 KB" in text


def test_the_way_out_of_an_infeasible_question_is_one(case):
    """The limit raised as the error says makes the plan fit."""
    limits = {"edge": Limits(package=10), "cloud": Limits(package=2120)}
    assert search(*case, Question(), limits=limits).best.shape == "cloud-only"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"edge": Limits(memory=100, payload_out=60), "cloud": Limits(memory=900)},
            "crosses cut|weighs most",
        ),
        ({"cloud": Limits(payload_in=1), "edge": Limits(seconds=0.01)}, "takes"),
        ({"edge": Limits(payload_out=3, package=1)}, "the largest message crosses cut"),
        ({"edge": Limits(joules=1e-9)}, "joules at edge takes"),
    ],
)
def test_every_kind_of_limit_can_be_the_hardest(case, limits, said):
    """Memory, payload, time and energy are each named with their amounts."""
    question = Question(codecs=("raw", "int8"), two_cuts=True, joules_per_byte=1.0)
    with pytest.raises(Infeasible, match=said):
        search(*case, question, limits=limits)


def test_private_stages_can_leave_no_plan(case):
    """Inputs in the cloud and a private tail longer than any legal cut allows have no answer."""
    chain, profiles, link = case
    with pytest.raises(Infeasible, match="no pair of legal cuts"):
        search(chain, profiles, link, Question(inputs_at_cloud=True, min_tail=6))


def test_a_simulated_ranking_is_never_below_its_bound(case):
    """Where the edge is visited twice, or the medium is shared, the time per step comes from the simulation."""
    chain, profiles, link = case
    question = Question(mode="train", max_window=3, codecs=("raw", "int8"))
    ranking = search(chain, profiles, replace(link, shared=True), question)
    assert any(a.estimate.simulated for a in ranking.alternatives)
    for a in ranking.alternatives:
        pricing = ranking.pricing
        assert a.estimate.seconds >= pricing.estimate(a.plan, simulated=False).seconds * (1 - 1e-9)


def test_a_window_must_be_worth_it(case):
    """Training keeps to K = 0 where a window would save less than asked; a fixed K is what it is."""
    chain, profiles, _ = case
    question = Question(mode="train", codecs=("raw",), max_window=3)
    free, dear = (search(chain, profiles, Link(1e5, 1e5), replace(question, worth=w)) for w in (0.0, 9.0))
    assert (free.best.window > 0, dear.best.window) == (True, 0)
    fixed = search(chain, profiles, Link(1e5, 1e5), replace(question, window=5))
    assert {a.plan.window for a in fixed.alternatives if a.plan.hops} == {5}
    assert all(a.plan.window == 0 for a in fixed.alternatives if not a.plan.hops)


def test_training_takes_the_smallest_window_that_saturates(case):
    """One step less under way costs time, one more saves none."""
    chain, profiles, _ = case
    question = Question(mode="train", codecs=("raw",), max_window=9, labels_private=True, min_front=1)
    ranking = search(chain, profiles, Link(1e5, 1e5, 0.05), question)
    plan, pace = ranking.best, lambda k: ranking.pricing.estimate(replace(ranking.best, window=k)).seconds
    assert 0 < plan.window < 9
    assert pace(plan.window - 1) > pace(plan.window) * 1.005
    assert pace(9) >= pace(plan.window) * 0.995


def test_a_fixed_window_that_does_not_fit_is_named(case):
    """What is missed is missed with the window that was asked for, not with none."""
    question = Question(mode="train", window=40, inputs_at_cloud=True, labels_private=True)
    limits = {"cloud": Limits(memory=20_000)}
    with pytest.raises(Infeasible, match=r"K=40 batch=1 mode=train, misses: memory at cloud takes"):
        search(*case, question, limits=limits)
    assert search(*case, replace(question, window=0), limits=limits).best.window == 0


def test_codecs_can_be_fixed_for_each_way(case):
    """What is fixed is used whatever it loses; the other way is chosen."""
    question = Question(mode="train", codecs=("raw", "int8"), codecs_up=("int8",), max_error=0.0)
    ranking = search(*case, replace(question, min_tail=1))
    hops = [hop for a in ranking.alternatives for hop in a.plan.hops]
    assert {(hop.forward, hop.back) for hop in hops} <= {("int8", "raw"), ("raw", "int8")}
    with pytest.raises(BadDocument, match="fp16"):
        search(*case, Question(codecs_up=("fp16",)))


def test_what_training_changes_is_not_used_at_both_places(profiled):
    """A weight of the first and the last stage keeps the two together, unless it is constant."""
    stages = tuple(Stage(f"s{i}", (f"h{i}",), (f"h{i + 1}",), ("tied",) if i != 1 else ()) for i in range(3))
    tensors = {f"h{i}": TensorSpec(f"h{i}", DType.FLOAT32, ("batch", 10)) for i in range(4)}
    chain = Chain("toy", "test", stages, tensors, ("h0",), ("h3",), {"tied": 100})
    profiles = {"edge": profiled(chain, [1.0] * 3), "cloud": profiled(chain, [0.1] * 3)}

    def cuts(**keywords):
        question = Question(codecs=("raw",), min_front=1, **keywords)
        ranking = search(chain, profiles, Link(1e5, 1e5), question)
        return {a.plan.cuts for a in ranking.alternatives}

    assert cuts(mode="train") == {(), (1, 2)}
    assert (1,) in cuts(mode="train", constant=frozenset({"tied"}))
    assert (1,) in cuts(mode="infer")
    assert cuts(mode="infer", legal=frozenset({2})) == {(), (2,)}


def test_jitter_adds_one_step_to_a_window_that_is_used(case):
    """Where times vary, one more step under way than saturates; a limit on memory takes it back."""
    calm = search(*case, Question(max_window=6)).best
    assert search(*case, Question(max_window=6, jitter=True)).best.window == calm.window + 1
    tight = {"edge": Limits(memory=1600)}
    assert (
        search(*case, Question(mode="train", max_window=6, jitter=True), limits=tight).best.estimate
        is not None
    )


def test_a_missing_measurement_names_the_profile_and_the_command(case, profiled):
    """Training without backward times, and energy without a meter, say what to measure where."""
    chain, profiles, link = case
    bare = {**profiles, "edge": profiled(chain, [1] * 6, backward=0, name="pi")}
    with pytest.raises(BadDocument, match=r"for 'edge' \(device 'pi'\): has no backward times"):
        search(chain, bare, link, Question(mode="train"))
    for question, limits in ((Question(objective="energy"), {}), (Question(), {"edge": Limits(joules=1)})):
        with pytest.raises(BadDocument, match="has no energy"):
            search(chain, bare, link, question, limits=limits)


def test_the_places_must_be_two_and_known(case):
    """One profile, or limits of a place without one, are refused."""
    chain, profiles, link = case
    with pytest.raises(BadDocument, match="there are 1 places"):
        search(chain, {"edge": profiles["edge"]}, link)
    with pytest.raises(BadDocument, match="'moon' is no place"):
        search(chain, profiles, link, limits={"moon": Limits()})


def test_a_profile_for_another_model_is_refused(case, line):
    """The digests of all places agree with the model's."""
    _, profiles, link = case
    with pytest.raises(ProfileMismatch):
        search(line([1, 2]), profiles, link)


def test_a_profile_of_whole_steps_trains_without_replay_of_its_own(case):
    """Times taken by cut without backward hold the whole step: window or not, a part takes the same."""
    chain, profiles, link = case
    count = len(chain)
    bare = [replace(stage, backward={}) for stage in profiles["edge"].stages]
    edge = replace(
        profiles["edge"],
        stages=tuple(bare),
        before={1: tuple(0.03 * k for k in range(count + 1))},
        after={1: tuple(0.03 * (count - k) for k in range(count + 1))},
    )
    question = Question(mode="train", rescore=0)
    ranking = search(chain, {**profiles, "edge": edge}, link, question)
    alone = next(a for a in ranking.alternatives if a.plan.shape == "edge-only")
    assert alone.estimate.seconds == pytest.approx(0.18)
    pricing = ranking.pricing
    plan = Plan("toy", "", (PlacedPart("edge", 0, 3), PlacedPart("cloud", 3, 6)), (Hop(),), 2, mode="train")
    assert pricing.estimate(plan).busy["edge compute"] == pytest.approx(0.09, rel=0.05)


def test_a_tensor_nobody_reads_costs_nothing(profiled):
    """What a stage makes in vain, and inputs in the cloud that nobody asks for, cross nowhere."""
    stages = (Stage("s0", ("x",), ("h", "vain")), Stage("s1", ("h",), ("y",)))
    tensors = {n: TensorSpec(n, DType.FLOAT32, ("batch", 10)) for n in ("x", "idle", "h", "vain", "y")}
    chain = Chain("toy", "test", stages, tensors, ("x", "idle"), ("y",))
    profiles = {"edge": profiled(chain, [1.0, 1.0]), "cloud": profiled(chain, [0.1, 0.1])}
    for question in (Question(rescore=0), Question(rescore=0, inputs_at_cloud=True)):
        plan = search(chain, profiles, Link(1e3, 1e3), question).best
        assert estimate(chain, plan, profiles, Link(1e3, 1e3)).bytes <= 80
    row = search_parts(chain, {"fn": profiles["cloud"]}, Link(1e3, 1e3), Question(codecs=("raw",)))
    assert row.estimate.bytes in (0, 40)


def test_a_place_that_only_gives_and_takes_can_be_over_its_limits(case):
    """Where the edge runs nothing and cannot even code its inputs in time, the error says so."""
    chain, profiles, link = case
    slow = Overhead(cpu=1.0)
    limits = {"edge": Limits(seconds=1.99, package=1), "cloud": Limits(seconds=100)}
    with pytest.raises(Infeasible, match="nothing runs there"):
        search(chain, profiles, link, Question(overhead=slow), limits=limits)


def test_a_larger_window_that_breaks_a_limit_is_not_taken(case):
    """The simulation asks for more steps under way than memory allows: the window stays where it fits."""
    chain, profiles, link = case
    free = search(chain, profiles, link, Question(mode="train", jitter=True, max_window=6))
    plan = free.best
    pricing = free.pricing
    fits = pricing.needs(replace(plan, window=plan.window - 1))["edge"]["memory"]
    limits = {"edge": Limits(memory=int(fits))}
    held = search(chain, profiles, link, Question(mode="train", jitter=True, max_window=6), limits=limits)
    assert all(not excess(pricing.needs(a.plan), limits) for a in held.alternatives)


def test_ties_among_many_pairs_are_decided_as_if_all_were_priced(line, profiled):
    """With more equal pairs than are priced at once, stopping early gives the plan that a full ranking gives."""
    chain = line([10 + i % 5 for i in range(81)])
    profiles = {
        "edge": profiled(chain, [1.0] * 80),
        "cloud": profiled(chain, [0.2 + i % 3 for i in range(80)]),
    }
    question = Question(objective="parts", codecs=("raw",), rescore=0, min_front=1)
    limits = {"edge": Limits(package=300_000)}
    few, all_ = (
        search(chain, profiles, Link(1e6, 1e6), question, limits=limits, top=top) for top in (1, 5000)
    )
    assert few.best == all_.best
    assert few.best.shape == "edge|cloud"
