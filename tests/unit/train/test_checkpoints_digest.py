"""One digest for values: of what they are, not of how they lie in memory."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from partita.train.checkpoints_digest import values_digest

A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3, ml_dtypes.bfloat16)
BASE = {"a": A, "b": B}


def test_order_and_memory_do_not_count() -> None:
    assert values_digest(BASE) == values_digest({"b": B, "a": np.asfortranarray(A)})


@pytest.mark.parametrize(
    "other",
    [
        {"a": A},
        {"a": A, "c": B},
        {"a": A.reshape(3, 2), "b": B},
        {"a": A.view(np.int32), "b": B},
        {"a": A + 1, "b": B},
        {"a": -0.0 * A, "b": B},
        {},
    ],
)
def test_names_types_shapes_and_bytes_count(other: dict[str, np.ndarray]) -> None:
    assert values_digest(BASE) != values_digest(other)


def test_the_text_counts() -> None:
    assert (
        len({values_digest({}, ""), values_digest({}, "1"), values_digest(BASE, "1"), values_digest(BASE)})
        == 4
    )
