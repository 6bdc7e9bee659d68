"""What a function is ordered with and what a call of it costs: by the rules of platforms, for all spans at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partita.errors import BadDocument
from partita.graph import Device, Profile, StageCost, Timing
from partita.plan import Limits, Platform, Prices
from partita.slice.question import SliceQuestion
from partita.slice.searching import search
from partita.testing import random_chain

CHAIN = random_chain(4, stages=4)
PROFILE = Profile(
    "m",
    CHAIN.digest,
    Device("d", threads=1),
    tuple(StageCost(stage.name, {2: Timing(0.3)}) for stage in CHAIN.stages),
    StageCost("whole", {}),
)
SIZES = Platform(
    "sizes",
    "functions in three sizes",
    Limits(memory=400_000, runtime_memory=1_000),
    memory_choices=(100_000, 200_000, 400_000),
    cpu_steps=((100_000, 0.5), (400_000, 2.0)),
    prices=Prices(gb_second=1.0, cpu_second=0.01, billed_least=1.0, billed_step=0.5, request=1e-6),
)


def asked(place=SIZES, **fields):
    return SliceQuestion(place, batch=2, dims={"seq": 3}, objective="cost", **fields)


def test_functions_are_ordered_in_the_sizes_there_are() -> None:
    """The smallest size that holds the slice with something to spare, as the platform itself would say."""
    plan = search(CHAIN, asked(), profile=PROFILE)

    for piece in plan.slices:
        assert piece.function_memory == SIZES.function_memory(round(piece.memory * 1.05))


@pytest.mark.parametrize("slices", [1, 2])
def test_a_call_costs_what_the_platform_says(slices) -> None:
    """Memory, processors, the least that is billed and its steps: as `Platform.call_price` for every slice."""
    plan = search(CHAIN, asked(slices=slices), profile=PROFILE)
    expected = sum(
        SIZES.call_price(piece.function_memory, 0.3 * (piece.stop - piece.start)) for piece in plan.slices
    )

    assert plan.totals is not None
    assert plan.totals.dollars == pytest.approx(expected)


def test_a_size_that_is_not_sold_is_refused() -> None:
    """With the sizes that are."""
    with pytest.raises(BadDocument, match="none of the sizes of sizes: 100000, 200000, 400000"):
        asked(replace(SIZES), function_memory=150_000)
