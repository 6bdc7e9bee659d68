"""How tensors travel: what stays in events, what goes through the store, and when either does not fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from partita.errors import BadDocument
from partita.graph import Chain, Device, DType, Profile, Stage, StageCost, TensorSpec, Timing
from partita.plan import Limits, Platform
from partita.slice.question import SliceQuestion
from partita.slice.searching import search

PLACE = Platform("place", "a place", Limits(), store=0.01, store_rate=1e6)
SIZES = {"x": 6, "big": 50, "a": 4, "b": 4, "y": 3}


def skip():
    """A large tensor made first and read last, with small ones between."""
    rows = [("big", ("x",)), ("a", ("big",)), ("b", ("a",)), ("y", ("b", "big"))]
    tensors = {n: TensorSpec(n, DType.INT8, (size,)) for n, size in SIZES.items()}
    stages = tuple(Stage(f"make {n}", reads, (n,), (f"w{n}",)) for n, reads in rows)
    return Chain("skip", "none", stages, tensors, ("x",), ("y",), {f"w{n}": 10 for n, _ in rows})


def timed(chain):
    stages = tuple(StageCost(s.name, {1: Timing(1.0)}) for s in chain.stages)
    return Profile("m", chain.digest, Device("d"), stages, StageCost("whole", {}))


def plan(transport, slices=4, place=PLACE, chain=None):
    return search(chain or skip(), SliceQuestion(place, slices=slices, transport=transport))


def test_in_events_a_tensor_is_handed_on_at_every_cut() -> None:
    """Three cuts carry the large one, whoever needs it."""
    found = plan("inline")

    assert [(p.payload_in, p.payload_out) for p in found.slices] == [(6, 50), (50, 54), (54, 54), (54, 3)]
    assert found.totals.payload == 50 + 54 + 54
    assert found.stored == ()


def test_in_the_store_a_tensor_is_written_once_and_read_by_who_needs_it() -> None:
    """Nothing passes through slices that do not read it; the model's ends stay in events."""
    found = plan("store")

    assert [(p.stored_in, p.stored_out) for p in found.slices] == [(0, 50), (50, 4), (4, 4), (54, 0)]
    assert [(p.payload_in, p.payload_out) for p in found.slices] == [(6, 0), (0, 0), (0, 0), (0, 3)]
    assert found.totals.payload == 58 + 108
    assert found.stored == ("big", "a", "b")


def test_only_what_does_not_fit_is_stored() -> None:
    """Small tensors stay in events of 20 bytes, the large one goes through the store."""
    found = plan("auto", place=replace(PLACE, event=20))

    assert found.stored == ("big",)
    assert [p.payload_out for p in found.slices] == [0, 4, 4, 3]


def test_what_fits_stays_in_events() -> None:
    """The store is not used for its own sake."""
    assert plan("auto").stored == ()


def test_text_makes_events_larger() -> None:
    """54 bytes are 72 as text: more than 70."""
    place = replace(PLACE, limits=Limits(payload_in=70), payload_growth=4 / 3)

    assert plan("auto", place=place).stored == ("big",)
    assert plan("auto", place=replace(place, limits=Limits(payload_in=72))).stored == ()


@pytest.mark.parametrize("transport", ["auto", "store"])
def test_inputs_and_answers_that_fit_no_event_go_through_the_store(transport) -> None:
    """The caller writes the one and reads the other."""
    place = replace(PLACE, limits=Limits(payload_in=5, payload_out=2))
    found = plan(transport, slices=1, place=place)

    assert found.stored == ("x", "y")
    assert [(p.stored_in, p.stored_out, p.payload_in, p.payload_out) for p in found.slices] == [(6, 3, 0, 0)]


def test_an_input_that_two_slices_need_crosses_like_any_tensor() -> None:
    """In the store it is read by both; in events it is handed on."""
    chain = skip()
    last = replace(chain.stages[-1], inputs=("b", "x"))
    chain = replace(chain, stages=(*chain.stages[:-1], last))

    assert plan("store", slices=2, chain=chain).stored[0] == "x"
    assert plan("store", slices=1, chain=chain).stored == ()
    assert [p.payload_in for p in plan("inline", slices=4, chain=chain).slices] == [6, 56, 10, 10]


@pytest.mark.parametrize("answers", [("y", "x"), ("x",)])
def test_an_input_that_is_an_answer_is_carried_to_the_end(answers) -> None:
    """Also where no stage reads it: what goes in comes out."""
    chain = replace(skip(), outputs=answers)
    if answers == ("x",):
        chain = replace(
            chain,
            stages=(Stage("make k", (), ("big",)), *chain.stages[1:]),
        )
    end = 6 + 3 * ("y" in answers)

    assert plan("inline", slices=1, chain=chain).slices[0].payload_out == end
    one = plan("store", slices=1, chain=chain)
    assert (one.stored, one.slices[0].payload_in, one.slices[0].stored_in) == ((), 6, 0)
    assert plan("store", slices=2, chain=chain).stored[0] == "x"


def test_without_a_store_everything_is_in_events() -> None:
    """Auto has one way there, and the store is refused by name."""
    place = replace(PLACE, store=0.0, store_rate=0.0)

    assert plan("auto", place=place) == replace(plan("inline", place=place), transport="auto")
    with pytest.raises(BadDocument, match="place has no store"):
        plan("store", place=place)


def test_the_store_takes_its_time() -> None:
    """One call after the other, and bytes at its rate."""
    question = SliceQuestion(PLACE, slices=2, transport="store")
    found = search(skip(), question, profile=timed(skip()))
    bytes_moved = sum(p.stored_in + p.stored_out for p in found.slices)

    calls = 4 if len(found.stored) == 2 else 2
    waiting = bytes_moved * 8 / 1e6 + calls * 0.01 + (6 + 3) * 8 / 1e6
    assert found.totals.warm == pytest.approx(4.0 + waiting)


def test_more_is_stored_where_that_allows_fewer_slices() -> None:
    """Events of 60 bytes allow no cut in the middle that the weights ask for, unless the large one is stored."""
    place = replace(PLACE, limits=Limits(package=20), event=53)

    assert len(plan("auto", slices=None, place=place).slices) == 2
    assert plan("auto", slices=None, place=place).stored == ("big",)


def test_no_more_is_stored_than_the_fewest_slices_ask_for() -> None:
    """Every cut is needed, and only what is larger than an event is stored."""
    names = ("x", "a", "b", "c", "d", "e", "f", "y")
    sizes = (6, 70, 60, 18, 50, 40, 30, 3)
    tensors = {n: TensorSpec(n, DType.INT8, (size,)) for n, size in zip(names, sizes, strict=True)}
    stages = tuple(Stage(f"make {b}", (a,), (b,), (f"w{b}",)) for a, b in pairwise(names))
    chain = Chain("row", "none", stages, tensors, ("x",), ("y",), {f"w{n}": 10 for n in names[1:]})
    place = replace(PLACE, limits=Limits(package=10), event=20)

    assert plan("auto", slices=None, place=place, chain=chain).stored == ("a", "b", "d", "e", "f")


def test_a_fixed_function_size_decides_how_fast_work_is() -> None:
    """Half the memory of a processor is half its speed; more than was measured with is no faster."""
    place = replace(PLACE, memory_per_cpu=1_000)

    def work(memory, objective="latency"):
        question = SliceQuestion(place, slices=1, objective=objective, function_memory=memory)
        return search(skip(), question, profile=timed(skip())).slices[0].seconds

    assert (work(500), work(1_000), work(5_000), work(500, "cost")) == (8.0, 4.0, 4.0, 8.0)


def test_time_is_bought_with_memory_where_a_limit_asks_for_it() -> None:
    """The function is as large as the limit of time makes it, in steps."""
    place = replace(PLACE, memory_per_cpu=1_000, memory_step=100, limits=Limits(seconds=5.0))
    found = search(skip(), SliceQuestion(place, slices=1, objective="memory"), profile=timed(skip()))

    assert found.slices[0].function_memory == 900
    assert found.slices[0].seconds == pytest.approx(4.0 / 0.9)
