"""What a platform sells, and what it charges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.plan import Limits, Note, Platform, Prices

MIB, GIB = 1 << 20, 1 << 30


def lambda_like(**more):
    """Memory from 128 to 10240 MiB in steps of 1 MiB."""
    return Platform(
        "fn", "a function", Limits(memory=10_240 * MIB), memory_least=128 * MIB, memory_step=MIB, **more
    )


@pytest.mark.parametrize(
    ("need", "size"),
    [
        (0, 128 * MIB),
        (128 * MIB, 128 * MIB),
        (128 * MIB + 1, 129 * MIB),
        (10_240 * MIB, 10_240 * MIB),
        (10_240 * MIB + 1, None),
    ],
)
def test_memory_is_ordered_in_steps(need, size):
    """The smallest size of the steps that holds the need, from the least to the most."""
    assert lambda_like().function_memory(need) == size


@pytest.mark.parametrize(
    ("need", "size"), [(0, 512), (512, 512), (513, 2048), (2049, 4096), (4096, 4096), (4097, None)]
)
def test_memory_is_ordered_by_choice(need, size):
    """The smallest choice that holds the need, whatever the order in which they were given."""
    place = Platform("fn", "t", Limits(memory=4096), memory_choices=(4096, 512, 2048))
    assert place.function_memory(need) == size


def test_a_choice_above_the_limit_is_none():
    """An account that has less than the largest choice cannot order it."""
    place = Platform("fn", "t", Limits(memory=3000), memory_choices=(512, 4096))
    assert place.function_memory(600) is None


def test_a_place_without_a_limit_gives_what_is_asked():
    """Without bounds, steps still count."""
    assert Platform("fn", "t", Limits()).function_memory(77) == 77
    assert Platform("fn", "t", Limits(), memory_choices=(5, 9)).function_memory(6) == 9
    assert Platform("fn", "t", Limits(), memory_least=10, memory_step=100).function_memory(11) == 110


def test_the_largest_size_can_be_ordered_between_steps():
    """A limit that is no whole number of steps is a size of its own."""
    place = Platform("fn", "t", Limits(memory=250), memory_step=100)
    assert (place.function_memory(201), place.function_memory(251)) == (250, None)


@given(
    need=st.integers(0, 10_000),
    least=st.integers(0, 500),
    step=st.integers(1, 300),
    most=st.integers(500, 9_000),
)
def test_an_ordered_size_holds_the_need_and_no_smaller_step_does(need, least, step, most):
    """Against the plain search over every size that can be ordered."""
    place = Platform("fn", "t", Limits(memory=most), memory_least=least, memory_step=step)
    sizes = sorted({*range(least, most + 1, step), most})
    assert place.function_memory(need) == next((size for size in sizes if size >= need), None)


def test_processors_grow_with_memory_up_to_the_most():
    """A share below one processor, and no more than the platform has."""
    place = lambda_like(memory_per_cpu=1769 * MIB, cpus_most=5)
    assert place.processors(1769 * MIB) == 1.0
    assert place.processors(128 * MIB) == pytest.approx(0.0724, abs=1e-4)
    assert place.processors(10_240 * MIB) == 5


def test_processors_come_in_steps():
    """The first step that has the memory decides; above the last one nothing is added."""
    place = Platform("fn", "t", Limits(), cpu_steps=((8 * GIB, 2.0), (4 * GIB, 1.0)), memory_per_cpu=1)
    assert [place.processors(n * GIB) for n in (1, 4, 5, 8, 9)] == [1.0, 1.0, 2.0, 2.0, 2.0]


def test_processors_may_not_depend_on_memory():
    """A board has what it has, one unless it says otherwise."""
    assert Platform("fn", "t", Limits()).processors(1) == 1.0
    assert Platform("fn", "t", Limits(), cpus=4.0).processors(GIB) == 4.0


def test_a_call_costs_its_request_and_its_memory_over_time():
    """A GB-second is a second of 1,024 MiB."""
    place = lambda_like(prices=Prices(gb_second=2.0, request=0.5))
    assert place.call_price(512 * MIB, 3.0) == pytest.approx(0.5 + 2.0 * 0.5 * 3.0)


def test_processors_are_paid_where_they_have_a_price():
    """Cloud Run charges memory and processors each."""
    place = Platform("fn", "t", Limits(), cpus=2.0, prices=Prices(gb_second=1.0, cpu_second=10.0))
    assert place.call_price(GIB, 2.0) == pytest.approx(2.0 * (1.0 + 20.0))


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.1, 1.1), (1.1001, 1.2), (1.3, 1.3)]
)
def test_time_is_billed_from_a_least_in_steps(seconds, billed):
    """Flex Consumption: a second at least, then tenths."""
    assert Prices(billed_least=1.0, billed_step=0.1).billed(seconds) == pytest.approx(billed)


def test_time_is_billed_exactly_without_steps():
    """Nothing is rounded where nothing is said."""
    assert Prices().billed(0.12345) == 0.12345


def test_notes_cannot_be_changed():
    """A platform is a fact that several planners share."""
    place = Platform("fn", "t", Limits(), notes={"memory": Note("a page", "2026-11")})
    with pytest.raises(TypeError):
        place.notes["memory"] = Note("another", "2026-11")


def test_a_store_has_a_rate():
    """Values rest between functions where a rate is known."""
    assert Platform("fn", "t", Limits(), store_rate=1e6).has_store
    assert not Platform("fn", "t", Limits()).has_store


def test_impossible_figures_are_refused_together():
    """Steps of nothing, a least above the most, text that shrinks, a store without a rate."""
    with pytest.raises(BadDocument) as caught:
        Platform(
            "fn",
            "t",
            Limits(memory=10),
            memory_step=0,
            memory_least=20,
            memory_choices=(30,),
            payload_growth=0.5,
            store=1.0,
        )
    assert len(caught.value.problems) == 5
