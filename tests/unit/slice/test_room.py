"""Stages too large by their weights, and how small their pieces must be."""

from __future__ import annotations

import pytest

from partita.graph import Chain, DType, Stage, TensorSpec
from partita.plan import Limits, Platform
from partita.slice.question import SliceQuestion
from partita.slice.room import oversized
from partita.slice.searching import oversized as exported


def two(weight, size=10):
    tensors = {n: TensorSpec(n, DType.INT8, (size,)) for n in ("x", "h", "y")}
    stages = (Stage("large", ("x",), ("h",), ("w", "w")), Stage("small", ("h",), ("y",), ("v",)))
    return Chain("two", "none", stages, tensors, ("x",), ("y",), {"w": weight, "v": 10})


def ask(growth=1.0, prepack=True, **limits):
    return SliceQuestion(Platform("p", "a place", Limits(**limits), payload_growth=growth), prepack=prepack)


@pytest.mark.parametrize("name", ["package", "storage", "tmp"])
@pytest.mark.parametrize(
    ("weight", "pieces"), [(1_000, None), (1_001, 2), (1_900, 2), (1_901, 3), (9_500, 10)]
)
def test_a_stage_is_divided_until_its_pieces_fit_with_headroom(name, weight, pieces) -> None:
    """A piece fills at most 95 per cent of the room that the runtime leaves."""
    taken = {"runtime_package": 100} if name != "tmp" else {}
    limits = {name: 1_000 + sum(taken.values()), **taken}

    found = oversized(two(weight, size=0), ask(**limits))

    assert found == ({} if pieces is None else {"large": pieces})


def test_memory_counts_copies_of_weights_and_what_is_held_beside_them() -> None:
    """940 bytes beside three times its tensors hold 470 bytes of weights twice; a piece leaves 10 to what travels."""
    assert oversized(two(471), ask(memory=1_000)) == {"large": 2}
    assert oversized(two(470), ask(memory=1_000)) == {}
    assert oversized(two(941), ask(memory=1_000, prepack=False)) == {"large": 2}
    assert oversized(two(1_800), ask(memory=1_000)) == {"large": 5}


def test_a_stage_without_any_room_is_not_divided() -> None:
    """Its values alone are too large: pieces of weights would not help."""
    assert oversized(two(5_000, size=600), ask(memory=1_000)) == {}


def test_room_is_counted_without_events_where_they_would_leave_none() -> None:
    """Then tensors travel through the store, and the pieces are as large as the weights allow."""
    assert oversized(two(300, size=100), ask(memory=1_000, growth=2.0)) == {"large": 2}


def test_without_limits_everything_fits() -> None:
    """And the search offers the same function."""
    assert oversized(two(10**12), ask()) == {}
    assert exported is oversized
