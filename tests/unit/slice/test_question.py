"""Questions to the planner of slices refuse all bad fields at once."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.plan import Limits, Platform
from partita.slice.question import SliceQuestion

PLACE = Platform("fn", "functions", Limits(memory=4_000), memory_least=1_000, memory_step=500)


def test_all_bad_fields_are_named_in_one_error() -> None:
    """A question with several mistakes is corrected in one go."""
    with pytest.raises(BadDocument) as caught:
        SliceQuestion(
            PLACE,
            slices=0,
            objective="fun",
            transport="pigeon",
            batch=0,
            dims={"seq": -1},
            slack=float("nan"),
            function_memory=4_001,
        )

    fields = [problem.partition(":")[0] for problem in caught.value.problems]
    assert fields == [
        *("objective", "transport", "slices", "batch", "dims.seq", "slack"),
        *("function_memory", "function_memory"),
    ]


def test_a_store_is_not_promised_where_there_is_none() -> None:
    """Tensors cannot rest on a platform without a store."""
    with pytest.raises(BadDocument, match="fn has no store"):
        SliceQuestion(PLACE, transport="store")


@pytest.mark.parametrize("memory", [0, 999, -5])
def test_a_function_is_not_smaller_than_the_smallest(memory) -> None:
    """The least of the platform holds for a fixed size too."""
    with pytest.raises(BadDocument, match="below the least of fn, 1000"):
        SliceQuestion(PLACE, function_memory=memory)


def test_the_memory_of_a_function_bounds_what_the_platform_would_allow() -> None:
    """A fixed size is the limit, then the platform's, then none."""
    free = Platform("free", "anything", Limits())

    assert SliceQuestion(PLACE, function_memory=2_500).memory == 2_500
    assert SliceQuestion(PLACE).memory == 4_000
    assert SliceQuestion(free).memory == float("inf")


def test_weights_are_held_twice_where_kernels_pack_them() -> None:
    """A packed copy stands beside the mapped file."""
    assert SliceQuestion(PLACE).weight_copies == 2 * SliceQuestion(PLACE, prepack=False).weight_copies


def test_dims_are_copied_and_bound_with_the_batch() -> None:
    """Changing the caller's dictionary changes no question."""
    dims = {"seq": 7}
    question = SliceQuestion(PLACE, batch=3, dims=dims)
    dims["seq"] = 9

    assert question.bind() == {"batch": 3, "seq": 7}
