"""Values that do not fit are refused before torch sees them."""

from __future__ import annotations

import numpy as np
import pytest

from partita.engine.torch_check import check_values
from partita.errors import BadDocument
from partita.graph import parse_tensor

SPECS = [
    parse_tensor("x:float32[batch,3]"),
    parse_tensor("y:int64[batch]"),
    parse_tensor("z:float32[2*batch]"),
]


def look(array: np.ndarray) -> tuple[str, tuple[int, ...]]:
    return str(array.dtype), array.shape


def values(batch: int = 2) -> dict[str, np.ndarray]:
    return {
        "x": np.zeros((batch, 3), np.float32),
        "y": np.zeros(batch, np.int64),
        "z": np.zeros(2 * batch, np.float32),
    }


def test_any_batch_size_is_taken_if_all_agree_on_it() -> None:
    """The batch is open."""
    check_values("inputs", SPECS, values(2), look)
    check_values("inputs", SPECS, values(7), look)


def test_all_problems_are_listed_at_once() -> None:
    """Missing, unknown, wrong type, wrong rank, wrong size."""
    bad = {"y": np.zeros(2, np.int32), "z": np.zeros((1, 1), np.float32), "w": np.zeros(1)}
    with pytest.raises(BadDocument) as caught:
        check_values("inputs", SPECS, bad, look)

    assert caught.value.problems == (
        "'x' is missing",
        "'y' is int32, not int64",
        "'z' has 2 dimensions, not 1",
        "'w' is not read here",
    )
    assert "x:float32[batch,3]" in caught.value.fix


def test_sizes_that_disagree_are_told_with_what_was_expected() -> None:
    """The first tensor says what the batch is."""
    bad = values(2) | {"z": np.zeros(5, np.float32)}
    with pytest.raises(BadDocument, match=r"'z' has 5 along axis 0, not 2\*batch = 4"):
        check_values("inputs", SPECS, bad, look)
