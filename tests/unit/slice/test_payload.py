"""Tensors as bytes and back."""

import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from partita.engine.onnx_values import numpy_dtype
from partita.errors import BadDocument, FrameCorrupt, FrameTooLarge, PartitaError
from partita.graph import DType, TensorSpec
from partita.slice.payload import ALIGN, MOST_TENSORS, pack, payload_bytes, total_bytes, type_of, unpack

TYPES = [dtype for dtype in DType if dtype.travels]


def some(dtype: DType, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape))
    return (np.arange(count) % 2).astype(numpy_dtype(dtype)).reshape(shape)


def same(left: Any, right: Any) -> bool:
    return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())


def crafted(tensors: list[Any], body: bytes, note: bytes = b"") -> bytes:
    head = msgspec.msgpack.encode((tensors, note))
    prefix = struct.pack("<4sIQ", b"PTV1", len(head), len(body))
    return prefix + head + bytes(-(len(prefix) + len(head)) % ALIGN) + body


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4)], ids=["matrix", "scalar", "empty"])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_keeps_its_bits(dtype: DType, shape: tuple[int, ...]) -> None:
    value = some(dtype, shape)

    assert same(unpack(pack({"x": value})).values["x"], value)


@pytest.mark.parametrize(
    "value",
    [
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24.0).reshape(4, 6)[::2, ::-3],
        np.arange(4, dtype=">i4"),
    ],
    ids=["fortran", "gaps", "big-endian"],
)
def test_any_layout_becomes_plain(value: Any) -> None:
    found = unpack(pack({"x": value})).values["x"]

    assert found.flags.c_contiguous
    assert found.dtype.isnative
    assert np.array_equal(found, value)


@pytest.mark.parametrize(
    "value", [np.array([["a", "bü"], ["", "x\0y"]], dtype=object), np.array(["one", "three"])]
)
def test_texts_travel_as_utf_8(value: Any) -> None:
    assert np.array_equal(unpack(pack({"x": value})).values["x"], value.astype(object))


def test_what_has_no_type_in_onnx_is_named_all_at_once() -> None:
    wrong: Any = {"a": np.zeros(1, np.longdouble), "b": [1], "c": np.array([{}], object), "d": np.zeros(1)}
    with pytest.raises(BadDocument) as caught:
        pack(wrong)

    assert [problem[:3] for problem in caught.value.problems] == ["'a'", "'b'", "'c'"]


def test_decoding_takes_no_copy_and_cannot_be_written() -> None:
    data = pack({"a": np.arange(5.0), "b": np.arange(7)})
    values = unpack(data).values

    assert all(np.shares_memory(value, np.frombuffer(data, np.uint8)) for value in values.values())
    assert not any(value.flags.writeable for value in values.values())


def test_bytes_that_lie_misaligned_are_read_all_the_same() -> None:
    data = pack({"a": np.arange(5.0)})
    found = unpack(memoryview(b"x" + data)[1:]).values["a"]

    assert found.flags.aligned
    assert np.array_equal(found, np.arange(5.0))


def test_the_note_comes_back() -> None:
    assert unpack(pack({}, note=b"abc")).note == b"abc"


@given(
    st.dictionaries(
        st.text(max_size=12),
        arrays.arrays(
            st.sampled_from([np.float32, np.int64, np.bool_, np.uint8]),
            arrays.array_shapes(min_dims=0, min_side=0),
        ),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_the_size_is_known_to_the_byte(values: dict[str, Any]) -> None:
    specs = [TensorSpec(name, type_of(value), value.shape) for name, value in values.items()]

    assert payload_bytes(specs, {}) == len(pack(values))


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((FrameCorrupt, FrameTooLarge)):
        unpack(data)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_an_altered_byte_is_refused_or_stays_within_bounds(data: st.DataObject) -> None:
    whole = bytearray(pack({"a": np.arange(5.0), "s": np.array(["x", "yz"])}))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        values = unpack(bytes(whole)).values
    except PartitaError:
        return

    assert sum(map(len, map(np.ndarray.tobytes, values.values()))) <= len(whole)


@pytest.mark.parametrize("cut", [0, 10, 40, -1])
def test_truncated_bytes_are_refused(cut: int) -> None:
    with pytest.raises(FrameCorrupt):
        unpack(pack({"a": np.arange(50)})[:cut])


@pytest.mark.parametrize(
    ("tensors", "body", "why"),
    [
        ([["a", "float32", [2], 8]], bytes(4), "ends at byte"),
        ([["a", "float32", [2], 4]], bytes(4), "does not take 4 bytes"),
        ([["a", "float32", [-2, -2], 16]], bytes(16), "negative"),
        ([["a", "float32", [1] * 33, 4]], bytes(4), "axes"),
        ([["a", "sequence", [1], 4]], bytes(4), "unknown type"),
        ([["a", "object", [1], 8]], bytes(8), "unknown type"),
        ([["a", "bool", [2], 2]], b"\x01\x02", "neither true nor false"),
        ([["a", "uint8", [0], 0], ["a", "uint8", [0], 0]], b"", "twice"),
        ([["a", "uint8", [1], 1]], bytes(9), "describes"),
        ([["a", "string", [1 << 40], 4]], bytes(4), "do not fit"),
        ([["a", "string", [1], 6]], b"\x09\0\0\0ab", "do not fill"),
        ([["a", "string", [1], 5]], b"\x01\0\0\0\xff", "UTF-8"),
        ([["a", "float32", [1.5], 4]], bytes(4), "parse"),
        ([["a", "float32", [2], -8]], bytes(8), "ends at byte"),
    ],
)
def test_a_head_that_lies_is_refused_with_the_field(tensors: list[Any], body: bytes, why: str) -> None:
    with pytest.raises(FrameCorrupt, match=why):
        unpack(crafted(tensors, body))


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<4sIQ", b"PTV1", 1 << 30, 0),
        crafted([["a", "float32", [0, 1 << 40, 1 << 40], 0]], b""),
        crafted([[str(index), "uint8", [0], 0] for index in range(MOST_TENSORS + 1)], b""),
    ],
    ids=["head", "shape", "tensors"],
)
def test_what_is_too_large_is_refused_before_it_is_made(data: bytes) -> None:
    with pytest.raises(FrameTooLarge):
        unpack(data)


def test_more_bytes_than_are_accepted_are_refused() -> None:
    with pytest.raises(FrameTooLarge, match="at most 100"):
        unpack(pack({"a": np.zeros(100)}), limit=100)


def test_the_bytes_of_values_count_letters() -> None:
    assert total_bytes([np.zeros(3, np.float32), np.array(["ab", "ü"], object)]) == 12 + 4
