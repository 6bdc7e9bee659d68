"""What the planner says: which limit or wish ended a slice, and why there is no plan and what would help."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partita.errors import BadDocument, Infeasible, ProfileMismatch, UnboundDimension
from partita.graph import Chain, Device, DType, Profile, Stage, StageCost, TensorSpec, Timing
from partita.plan import Limits, Platform, Prices
from partita.slice.question import SliceQuestion
from partita.slice.searching import search, smallest_platform

FREE = Platform("free", "anything", Limits())
STORE = replace(FREE, name="store", store_rate=1e6, store=0.01)


def line(weights, sizes, batch=1):
    """Stages one after the other: the bytes of their weights, and of what passes between them."""
    names = ["x", *(f"t{i}" for i in range(1, len(sizes) - 1)), "y"]
    tensors = {n: TensorSpec(n, DType.INT8, (batch, size)) for n, size in zip(names, sizes, strict=True)}
    stages = tuple(
        Stage(f"s{i}", (names[i],), (names[i + 1],), (f"w{i}",) if weight else ())
        for i, weight in enumerate(weights)
    )
    params = {f"w{i}": weight for i, weight in enumerate(weights) if weight}
    return Chain("line", "none", stages, tensors, ("x",), ("y",), params)


FOUR = line([40, 40, 40, 40], [9, 5, 7, 3, 1])


def limited(**limits):
    return replace(STORE, limits=Limits(**limits))


def timed(chain, *seconds):
    stages = tuple(StageCost(s.name, {1: Timing(t)}) for s, t in zip(chain.stages, seconds, strict=True))
    return Profile("m", chain.digest, Device("d"), stages, StageCost("whole", {}))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"package": 1_080, "runtime_package": 1_000}, "package: with 's2' it would be 1.12 KB of 1.08 KB"),
        ({"tmp": 80}, "tmp: with 's2' it would be 120 B of 80 B"),
        ({"storage": 80}, "storage: with 's2' it would be 120 B of 80 B"),
        ({"memory": 195}, "memory: with 's2' it would be 235 B of 195 B"),
    ],
)
def test_each_limit_of_weights_is_named(limits, reason) -> None:
    """Two slices of two stages each are all that fits."""
    plan = search(FOUR, SliceQuestion(limited(**limits)))

    assert plan.cuts == (2,)
    assert plan.slices[0].reason == reason


def test_a_limit_of_time_is_named() -> None:
    """Seconds count where they were measured."""
    plan = search(FOUR, SliceQuestion(limited(seconds=2.5)), profile=timed(FOUR, 1, 1, 1, 1))

    assert plan.slices[0].reason == "seconds: with 's2' it would be 3s of 2.5s"


def test_a_limit_of_events_is_named_where_nothing_else_stops_a_slice() -> None:
    """Two slices: the only cut left is the one before the events grow too large."""
    chain = line([1, 1, 1], [2, 2, 50, 9])
    plan = search(chain, SliceQuestion(replace(FREE, limits=Limits(payload_in=10)), slices=2))

    assert plan.cuts == (1,)


def test_events_that_are_too_large_end_a_slice() -> None:
    """With memory for two stages only, the cut after the second is the last whose event fits."""
    chain = line([40, 40, 40], [2, 2, 2, 2])
    chain = replace(chain, blocked={1: "no"})
    plan = search(chain, SliceQuestion(limited(memory=172), transport="inline"))

    assert (plan.cuts, plan.slices[0].reason[:7]) == ((2,), "memory:")


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        ("slices", "fewest bytes cross here of the places that keep 2 slices balanced"),
        ("memory", "cutting here keeps the memory of the largest slice smallest"),
        ("payload", "fewest bytes cross here"),
        ("latency", "a warm request is fastest when cut here"),
        ("cost", "a request is cheapest when cut here"),
        ("throughput", "cutting here keeps the slowest slice fastest"),
    ],
)
def test_a_wish_is_the_reason_where_no_limit_is(objective, reason) -> None:
    """Without limits every cut is a choice."""
    profile = timed(FOUR, 1, 1, 1, 1)
    plan = search(FOUR, SliceQuestion(FREE, slices=2, objective=objective), profile=profile)

    assert plan.slices[0].reason == reason


def test_a_cold_request_is_named() -> None:
    """The reason says which latency was asked for."""
    question = SliceQuestion(FREE, slices=2, objective="latency", cold=True)

    assert (
        search(FOUR, question, profile=timed(FOUR, 1, 1, 1, 1)).slices[0].reason.startswith("a cold request")
    )


@pytest.mark.parametrize(
    ("place", "words", "fix"),
    [
        (limited(package=30), "'s0' alone takes 40 B of 30 B package (1.33x)", "divide it into pieces"),
        (
            limited(memory=60),
            "'s0' alone takes 136 B of 60 B memory (weights 40 B, activations 14 B, events 14 B)",
            "divide it into pieces",
        ),
        (limited(tmp=10), "'s0' alone takes 40 B of 10 B tmp (4x)", "more tmp than store"),
        (
            replace(FREE, limits=Limits(payload_in=4)),
            "the event before 's0' holds 9 B of 4 B payload_in, most of all 'x' with 9 B (2.25x)",
            "a smaller batch",
        ),
        (replace(FREE, event=8), "the event before 's0' holds 9 B of 8 B event", "a smaller batch"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_stage_the_limit_and_the_way_out(place, words, fix) -> None:
    """The blocking stage or event, its value, the bound, by how much, and what to change."""
    with pytest.raises(Infeasible) as caught:
        search(FOUR, SliceQuestion(place, transport="inline"))

    assert words in caught.value.problem
    assert fix in caught.value.fix


def test_an_answer_too_large_for_a_response_is_named() -> None:
    """What leaves a slice is named after its last stage."""
    chain = line([1, 1], [2, 2, 50])

    with pytest.raises(Infeasible, match="the event after 's1' holds 50 B of 10 B payload_out"):
        search(chain, SliceQuestion(replace(FREE, limits=Limits(payload_out=10))))
    with pytest.raises(Infeasible, match="the event after 's1' holds 50 B of 10 B event"):
        search(chain, SliceQuestion(replace(FREE, event=10)))


def test_the_store_is_the_way_out_where_there_is_one() -> None:
    """Events too small for inline tensors say so, and the advice works."""
    place = replace(STORE, limits=Limits(payload_in=4))
    with pytest.raises(Infeasible) as caught:
        search(FOUR, SliceQuestion(place, transport="inline"))

    assert caught.value.fix.endswith("--transport auto")
    assert search(FOUR, SliceQuestion(place, transport="auto")).stored == ("x",)


def test_activations_are_not_to_be_divided() -> None:
    """Where values and not weights fill the memory, a smaller batch helps."""
    with pytest.raises(Infeasible) as caught:
        search(line([1], [500, 500]), SliceQuestion(limited(memory=600), transport="inline"))

    assert caught.value.fix.startswith("choose a smaller batch")


def test_a_function_ordered_too_small_says_how_large() -> None:
    """The size named is enough."""
    question = SliceQuestion(FREE, function_memory=60)
    with pytest.raises(Infeasible) as caught:
        search(FOUR, question)

    assert caught.value.fix.startswith("order larger functions: at least ")
    size = int(caught.value.fix.split("at least ")[1].split(" B")[0])
    assert search(FOUR, replace(question, function_memory=size)).slices


def test_too_little_time_is_refused() -> None:
    """A stage that takes longer than a function may run."""
    with pytest.raises(Infeasible, match=r"'s2' alone takes 5\.02s of 2s seconds"):
        search(FOUR, SliceQuestion(limited(seconds=2)), profile=timed(FOUR, 1, 1, 5, 1))


@pytest.mark.parametrize(("asked", "better"), [(1, 2), (2, 2), (4, 4)])
def test_another_number_of_slices_is_proposed(asked, better) -> None:
    """The nearest that fits, and it does."""
    question = SliceQuestion(limited(package=80), slices=asked)
    if asked != better:
        with pytest.raises(
            Infeasible, match="1 slices of 'line' do not fit store: at best, the slice from"
        ) as e:
            search(FOUR, question)
        assert e.value.fix.startswith(f"use --slices {better},")

    assert len(search(FOUR, replace(question, slices=better)).slices) == better


def test_too_many_slices_for_the_events_are_refused_with_fewer() -> None:
    """More cuts need a place where too much crosses."""
    chain = line([1, 1, 1], [2, 2, 50, 2])

    with pytest.raises(Infeasible, match="3 slices") as caught:
        search(chain, SliceQuestion(replace(FREE, event=10), slices=3))
    assert caught.value.fix.startswith("use --slices 2,")


def test_more_slices_than_places_to_cut_are_refused() -> None:
    """The largest number is named; blocked positions do not count."""
    chain = replace(FOUR, blocked={2: "no"})

    with pytest.raises(BadDocument, match="slices: 4 are more than 'line' can be cut into, 3"):
        search(chain, SliceQuestion(FREE, slices=4))


def test_sizes_that_depend_on_open_dimensions_are_refused_with_all_of_them() -> None:
    """Every open dimension is named at once."""
    open_dims = {"x": TensorSpec("x", DType.INT8, ("batch", "seq", "2*width"))}
    chain = replace(FOUR, tensors={**FOUR.tensors, **open_dims})

    with pytest.raises(UnboundDimension) as caught:
        search(chain, SliceQuestion(FREE))
    assert caught.value.fix == "give one: --dim seq=1 --dim width=1"
    assert search(chain, SliceQuestion(FREE, dims={"seq": 2, "width": 3})).slices[0].payload_in == 12


def test_a_dimension_that_divides_by_zero_is_refused_as_it_is() -> None:
    """Every symbol has a value; the value is the problem."""
    chain = replace(FOUR, tensors={**FOUR.tensors, "x": TensorSpec("x", DType.INT8, (1, "4//seq"))})

    with pytest.raises(UnboundDimension, match="divides by zero"):
        search(chain, SliceQuestion(FREE, dims={"seq": 0}))


def test_objectives_of_time_need_a_measurement_of_this_model() -> None:
    """Without a profile, or with that of another model, nothing is guessed."""
    question = SliceQuestion(FREE, objective="latency")

    with pytest.raises(BadDocument, match="'latency' asks for time, and nothing was measured"):
        search(FOUR, question)
    with pytest.raises(ProfileMismatch):
        search(FOUR, question, profile=timed(line([1], [1, 1]), 1))


def test_a_model_without_stages_is_refused() -> None:
    """There is nothing to put into a slice."""
    with pytest.raises(BadDocument, match="stages: there are none"):
        search(Chain("empty", "none", (), {}, (), ()), SliceQuestion(FREE))


def test_notes_say_what_was_not_looked_at() -> None:
    """One slice is said to be enough; a limit without a measurement is said to be open."""
    assert search(FOUR, SliceQuestion(limited(seconds=1))).notes == (
        "one slice holds the whole model, and nothing has to cross",
        "the time limit was not looked at, because nothing was measured",
    )
    assert search(FOUR, SliceQuestion(FREE, slices=2)).notes == ()


def test_the_smallest_platform_that_fits_is_named() -> None:
    """By memory, then by package; places that do not fit or cannot be asked are passed over."""
    places = [
        replace(FREE, name="huge"),
        replace(FREE, name="large", limits=Limits(memory=5_000)),
        replace(FREE, name="small", limits=Limits(memory=5_000, package=30)),
        replace(FREE, name="tiny", limits=Limits(memory=20)),
    ]
    question = SliceQuestion(STORE, transport="store")

    assert smallest_platform(FOUR, question, places) == "large"
    assert smallest_platform(FOUR, question, places[2:]) == ""
    assert smallest_platform(FOUR, replace(question, slices=9), places) == ""


def test_dollars_follow_prices_and_the_size_of_the_function() -> None:
    """A gibibyte for a second, and what a call and a step cost."""
    prices = Prices(gb_second=2.0, request=0.5, transition=0.25)
    place = replace(FREE, memory_least=1 << 30, prices=prices)
    plan = search(FOUR, SliceQuestion(place, objective="cost"), profile=timed(FOUR, 1, 1, 1, 1))

    assert plan.totals.dollars == pytest.approx(2.0 * 4 + 0.75)
