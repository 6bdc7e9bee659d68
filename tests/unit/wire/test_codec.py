"""Every codec, seen from outside: bytes, errors of values, what travels raw, and what a receiver refuses."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partita.errors import FrameCorrupt, FrameTooLarge, PartFailed, PartitaError
from partita.wire.codec import decode, encode, parse_codec
from partita.wire.codec_head import Encoded, TensorHead, buffer_lengths
from partita.wire.codec_sizes import DTYPE_BYTES

CODECS = [
    "raw", "fp16", "bf16", "lossless", "int8", "int4", "int2", "int8/channel", "int4/channel:-1", "int2/channel:0",
    "int8/stochastic:3", "int4/channel/stochastic", "topk:0.1", "topk:0.01", "topk:1/fp32", "topk:0.3/fp32",
    "int8+lossless", "topk:0.1+lossless", "fp16+lossless", "int4/channel+lossless",
]  # fmt: skip
FLOAT_TYPES = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
OTHER_TYPES = [np.bool_, np.int8, np.int64, np.uint8, np.complex64]


def half_normal(*shape: int, dtype: object = np.float32) -> np.ndarray:
    return np.abs(np.random.default_rng(7).standard_normal(shape)).astype(dtype)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5,), (7, 3), (4, 6, 5, 3), (2, 300)])
def test_any_float_tensor_comes_back_in_its_type_and_shape(
    codec: str, dtype: type, shape: tuple[int, ...]
) -> None:
    """Whatever the codec, dtype and shape return, and the buffers have the lengths that the head implies."""
    array = half_normal(*shape, dtype=dtype)

    encoded = encode(array, codec)
    back = decode(encoded)

    assert buffer_lengths(encoded.head) == tuple(len(b) for b in encoded.buffers)
    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    if "lossless" not in codec:
        assert encoded.nbytes == parse_codec(codec).encoded_bytes(array.dtype.name, shape)


@pytest.mark.parametrize("dtype", OTHER_TYPES)
@pytest.mark.parametrize("codec", CODECS)
def test_integers_and_booleans_arrive_bit_for_bit(codec: str, dtype: type) -> None:
    """A lossy codec does not touch what is not a float."""
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)

    encoded = encode(array, codec)

    assert encoded.head.codec == ("lossless" if "lossless" in codec else "raw")
    assert same_bits(array, decode(encoded))


@pytest.mark.parametrize("codec", ["raw", "lossless"])
@given(arrays(np.float32, array_shapes(min_dims=0, min_side=0), elements=st.floats(width=32)))
def test_lossless_codecs_keep_every_bit(codec: str, array: np.ndarray) -> None:
    """NaN payloads, signed zeros and denormals included."""
    assert same_bits(array, decode(encode(array, codec)))


def test_raw_copies_nothing_on_either_end() -> None:
    """The buffer is the array's memory, and the decoded array is the buffer's."""
    array = half_normal(64, 64)

    encoded = encode(array, "raw")

    assert np.shares_memory(array, np.frombuffer(encoded.buffers[0], np.uint8))
    assert np.shares_memory(array, decode(encoded))


def test_a_misaligned_raw_buffer_is_copied_into_place() -> None:
    """Kernels downstream may ask for aligned memory, and a buffer in the middle of a frame need not be."""
    array = half_normal(8)
    frame = memoryview(b"x" + array.tobytes())[1:]

    back = decode(Encoded(TensorHead("raw", "float32", (8,)), (frame,)))

    assert back.flags.aligned
    assert same_bits(array, back)


@pytest.mark.parametrize("codec", CODECS)
def test_memory_layout_and_byte_order_do_not_matter(codec: str) -> None:
    """A transposed, strided or big-endian array gives the bytes of its plain copy."""
    array = half_normal(16, 24)
    plain = encode(array, codec)

    for other in (np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2], array.astype(">f4")):
        assert [bytes(b) for b in plain.buffers] == [bytes(b) for b in encode(other, codec).buffers]


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", ["int8", "int4/channel", "topk:0.1", "int8+lossless"])
def test_non_finite_values_travel_raw_and_the_head_says_so(codec: str, poison: float) -> None:
    """One NaN must not destroy the tensor around it."""
    array = half_normal(8, 100)
    array[3, 3] = poison

    encoded = encode(array, codec)

    assert encoded.fell_back
    assert encoded.head.meta["instead_of"] == codec
    assert encoded.head.meta["why"] == "non-finite"
    assert same_bits(array, decode(encoded))


@pytest.mark.parametrize("codec", ["fp16", "bf16"])
def test_halves_carry_non_finite_values(codec: str) -> None:
    """NaN and the infinities have a half of their own."""
    array = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)

    encoded = encode(array, codec)

    assert encoded.head.codec == codec
    np.testing.assert_array_equal(array, decode(encoded))


@pytest.mark.parametrize(
    ("codec", "value", "dtype"),
    [
        ("fp16", 1e6, np.float32),
        ("bf16", 1e300, np.float64),
        ("bf16", 3.4e38, np.float32),
        ("topk:0.1", 1e6, np.float32),
        ("topk:0.1/fp32", 1e300, np.float64),
        ("int8", 1e308, np.float64),
        ("int8", 1e-305, np.float64),
    ],
)
def test_values_beyond_the_codecs_range_travel_raw(codec: str, value: float, dtype: type) -> None:
    """A finite value never becomes infinite on the way."""
    array = np.zeros((4, 50), dtype)
    array[1, 1], array[2, 2] = value, -value

    encoded = encode(array, codec)

    assert encoded.head.meta["why"] == "range"
    assert same_bits(array, decode(encoded))


def test_a_type_without_a_name_on_the_wire_is_refused() -> None:
    """Strings and objects are not tensors."""
    with pytest.raises(PartFailed, match="'str"):
        encode(np.array(["a"]))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"codec": "zip"}, "codec 'zip'"),
        ({"codec": "x" * 10_000}, "codec 'xxx"),
        ({"dtype": "object"}, "dtype 'object'"),
        ({"dtype": "int32"}, "codec 'int8'"),
        ({"shape": (0, 100)}, "codec 'int8'"),
        ({"shape": (-1, 100)}, "shape"),
        ({"shape": (1,) * 33}, "shape"),
        ({"shape": (5, 100)}, "buffers"),
        ({"codec": "int4"}, "buffers"),
        ({"codec": "int8+lossless"}, "meta.stored"),
        ({"codec": "int8+lossless", "meta": {"stored": (8, 401)}}, "meta.stored"),
        ({"codec": "int8+lossless", "meta": {"stored": (8, -1)}}, "meta.stored"),
        ({"codec": "int8+lossless", "meta": {"stored": "8"}}, "meta.stored"),
    ],
)
def test_a_head_that_does_not_fit_is_refused_by_its_field(change: dict[str, object], field: str) -> None:
    """The message names what is wrong."""
    good = encode(half_normal(4, 100), "int8")
    bad = Encoded(msgspec.structs.replace(good.head, **change), good.buffers)

    with pytest.raises(FrameCorrupt, match=field):
        decode(bad)


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 20), (0, 1 << 62, 1 << 62), (10**30,)])
@pytest.mark.parametrize("codec", ["raw", "topk:0.000001", "lossless"])
def test_a_tensor_beyond_the_limit_is_refused_before_anything_is_allocated(
    codec: str, shape: tuple[int, ...]
) -> None:
    """A few bytes must not ask for terabytes."""
    tracemalloc.start()
    with pytest.raises(FrameTooLarge, match="shape"):
        decode(Encoded(TensorHead(codec, "float32", shape, {"stored": (1,)}), (b"x",)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1 << 18


def test_the_receiver_sets_the_limit() -> None:
    """The limit counts decoded bytes."""
    encoded = encode(half_normal(4, 100), "int2")

    assert decode(encoded, limit=1600).shape == (4, 100)
    with pytest.raises(FrameTooLarge, match="1600 bytes, and this side accepts 1599"):
        decode(encoded, limit=1599)


def test_a_head_survives_msgpack() -> None:
    """It is a message: what a receiver decodes from bytes equals what was sent."""
    head = encode(half_normal(4, 100), "int4+lossless").head

    assert head == msgspec.msgpack.decode(msgspec.msgpack.encode(head), type=TensorHead)


metas = st.dictionaries(
    st.sampled_from(["stored", "instead_of", "why"]),
    st.one_of(
        st.integers(-3, 300),
        st.sampled_from(["", "8", "raw"]),
        st.lists(st.integers(-3, 300), max_size=3).map(tuple),
    ),
)
heads = st.builds(
    TensorHead,
    codec=st.sampled_from([*CODECS, "", "int9", "topk:2"]),
    dtype=st.sampled_from([*DTYPE_BYTES, "object"]),
    shape=st.lists(st.integers(-1, 9), max_size=4).map(tuple),
    meta=metas,
)


@settings(max_examples=300)
@given(head=heads, data=st.data())
def test_hostile_heads_and_buffers_raise_only_partita_errors(head: TensorHead, data: st.DataObject) -> None:
    """Random bytes of the right lengths decode to some tensor or are refused; memory stays near the limit."""
    try:
        lengths = buffer_lengths(head, 1 << 16)
    except PartitaError:
        lengths = tuple(data.draw(st.lists(st.integers(0, 40), max_size=3)))
    fill = data.draw(st.sampled_from([b"\0", b"\xff", b"\x7f\x80\x01"]) | st.binary(min_size=1, max_size=64))
    buffers = tuple((fill * (n // len(fill) + 1))[:n] for n in lengths)

    tracemalloc.start()
    try:
        array = decode(Encoded(head, buffers), limit=1 << 16)
    except PartitaError:
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (1 << 20) + 32 * (1 << 16)
    assert array.nbytes <= 1 << 16
    assert (array.dtype.name, array.shape) == (head.dtype, head.shape)


@settings(max_examples=150)
@given(codec=st.sampled_from(CODECS), at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_one_changed_byte_is_refused_or_gives_a_tensor(codec: str, at: int, value: int, cut: bool) -> None:
    """A flipped or missing byte never crashes a decoder."""
    encoded = encode(half_normal(6, 80), codec)
    which = at % len(encoded.buffers)
    changed = bytearray(encoded.buffers[which])
    changed[at % len(changed)] = value
    buffers = list(encoded.buffers)
    buffers[which] = bytes(changed[:-1] if cut else changed)

    try:
        back = decode(Encoded(encoded.head, tuple(buffers)))
    except PartitaError:
        return
    assert back.shape == (6, 80)


def test_encoding_twice_gives_the_same_bytes() -> None:
    """Codecs hold no state, stochastic ones included; another draw gives other noise."""
    array, codec = half_normal(64, 64), parse_codec("int4/stochastic:9")

    first, again, other = (
        codec.encode(array, draw=5),
        codec.encode(array, draw=5),
        codec.encode(array, draw=6),
    )

    assert bytes(first.buffers[1]) == bytes(again.buffers[1])
    assert bytes(first.buffers[1]) != bytes(other.buffers[1])


def test_only_stochastic_codecs_are_unbiased() -> None:
    """The property that memories ask for."""
    assert [c for c in CODECS if parse_codec(c).unbiased] == ["int8/stochastic:3", "int4/channel/stochastic"]


def test_the_ratio_of_a_codec_is_that_of_a_large_tensor() -> None:
    """What a planner multiplies by."""
    assert parse_codec("int8").ratio() == pytest.approx(4, rel=1e-3)
    assert parse_codec("int8").ratio("bfloat16") == pytest.approx(2, rel=1e-3)
