"""Top-k: which values stay, how places travel, and which places are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partita.errors import FrameCorrupt
from partita.wire.codec import decode, encode
from partita.wire.codec_head import Encoded, TensorHead
from partita.wire.codec_sizes import kept


@given(
    array=arrays(
        np.float32, array_shapes(min_dims=2, max_dims=3, max_side=12), elements=st.floats(-9, 9, width=16)
    ),
    fraction=st.sampled_from([0.01, 0.1, 0.25, 0.5]),
)
def test_each_row_keeps_its_largest_values_and_the_first_of_equals(
    array: np.ndarray, fraction: float
) -> None:
    """Compared with a stable sort; the rest is zero."""
    rows = array.reshape(len(array), -1)
    count = kept(fraction, rows.shape[1])
    order = np.argsort(-np.abs(rows), axis=1, kind="stable")[:, :count]
    expected = np.zeros_like(rows)
    np.put_along_axis(expected, order, np.take_along_axis(rows, order, axis=1), axis=1)

    encoded = encode(array, f"topk:{fraction}")

    wanted = expected.reshape(array.shape) if encoded.head.codec != "raw" else array
    np.testing.assert_array_equal(wanted, decode(encoded))


@pytest.mark.parametrize(
    ("columns", "fraction", "width"), [(200, 0.01, 1), (5000, 0.01, 2), (70_000, 0.01, 4), (5000, 0.1, 0)]
)
def test_places_take_the_shortest_form(columns: int, fraction: float, width: int) -> None:
    """Indices of the smallest type, or a bitmap once a bit per value is less."""
    array = np.random.default_rng(0).standard_normal((3, columns)).astype(np.float32)
    count = kept(fraction, columns)

    values, places = encode(array, f"topk:{fraction}").buffers

    assert len(values) == 3 * count * 2
    assert len(places) == 3 * (count * width if width else -(-columns // 8))


def test_fp32_values_are_exact() -> None:
    """For gradients whose largest entries matter to the last bit."""
    array = np.random.default_rng(0).standard_normal((4, 500)).astype(np.float32)

    back = decode(encode(array, "topk:0.05/fp32"))

    assert np.count_nonzero(back) == 4 * 25
    np.testing.assert_array_equal(array[back != 0], back[back != 0])


def test_a_quiet_sample_is_not_starved_by_a_loud_one() -> None:
    """Rows are ranked alone."""
    array = np.random.default_rng(0).standard_normal((2, 400)).astype(np.float32)
    array[0] *= 1000

    assert np.count_nonzero(decode(encode(array, "topk:0.1")), axis=1).tolist() == [40, 40]


@pytest.mark.parametrize(
    ("shape", "fraction", "places"),
    [
        ((1, 200), 0.01, [3, 3]),
        ((1, 200), 0.01, [9, 3]),
        ((1, 200), 0.01, [3, 200]),
        ((1, 20), 0.25, [0x0F, 0, 0]),
        ((1, 20), 0.25, [0x0F, 0, 0x10]),
        ((1, 20), 0.25, [0x3F, 0, 0]),
    ],
)
def test_places_that_no_encoder_writes_are_refused(
    shape: tuple[int, int], fraction: float, places: list[int]
) -> None:
    """Repeated, descending or outside the row; too few, too many or spare bits in a bitmap."""
    bad = Encoded(
        TensorHead(f"topk:{fraction}", "float32", shape), (bytes(2 * kept(fraction, shape[1])), bytes(places))
    )

    with pytest.raises(FrameCorrupt, match="place"):
        decode(bad)


def test_a_value_beyond_a_narrow_type_becomes_infinite_without_a_warning() -> None:
    """Only a hostile sender writes 65504 for a float8 tensor; the receiver stays calm."""
    values = np.array([65504] * 20, np.float16).tobytes()
    hostile = Encoded(TensorHead("topk:0.01", "float8_e5m2", (20, 90)), (values, bytes(range(20))))

    assert decode(hostile).shape == (20, 90)
