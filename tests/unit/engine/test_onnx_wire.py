"""The wire walker against the protobuf library, and against bytes that are no messages."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.engine.onnx_wire import (
    Malformed,
    Span,
    encode,
    fields,
    merged,
    message,
    number,
    numbers_of,
    rewritten,
    size,
    text,
    text_of,
    varint,
)
from partita.testing.onnx_models import NAMES, onnx_model


def joined(pieces: list[bytes | Span], buffer: bytes) -> bytes:
    """Pieces as the bytes they stand for."""
    return b"".join(p if isinstance(p, bytes) else buffer[p.start : p.stop] for p in pieces)


def tensors(item: Any) -> list[Any]:
    """Every tensor in a message, found by the protobuf library."""
    if isinstance(item, onnx.TensorProto):
        return [item]
    if not hasattr(item, "ListFields"):
        return []
    values = [value for _, value in item.ListFields()]
    rows = [
        [value] if hasattr(value, "ListFields") or not hasattr(value, "__len__") else value
        for value in values
    ]
    return [
        found
        for row in rows
        if not isinstance(row, (str, bytes))
        for inner in row
        for found in tensors(inner)
    ]


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_a_number_survives_both_ways(value: int) -> None:
    """What is encoded is read back, and ends where its bytes end."""
    raw = encode(value)

    assert varint(raw + b"\xff", 0, len(raw)) == (value, len(raw))


@given(st.lists(st.integers(min_value=-(2**63), max_value=2**63 - 1)))
def test_packed_numbers_read_as_the_protobuf_library_wrote_them(values: list[int]) -> None:
    """Signed 64-bit numbers in one packed field."""
    raw = onnx.TensorProto(int64_data=values).SerializeToString()
    (field,) = fields(raw, 0, len(raw)) if values else (None,)

    assert values == (numbers_of(raw, field) if field else [])


def test_fields_are_found_where_the_library_puts_them() -> None:
    """Numbers and texts of one message, in order."""
    raw = number(2, 7) + text(8, "weight") + text(9, b"\0\1")
    found = list(fields(raw, 0, len(raw)))

    assert [f.number for f in found] == [2, 8, 9]
    assert text_of(raw, found[1]) == "weight"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\x80" * 11, "does not end"),
        (b"\x0a\x05ab", "past its message"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "number 0"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "past its message"),
    ],
)
def test_bytes_that_are_no_message_are_refused(raw: bytes, said: str) -> None:
    """Each kind of damage has its own words, and no length is believed."""
    with pytest.raises(Malformed, match=said):
        list(fields(raw, 0, len(raw)))


def test_a_text_must_be_text() -> None:
    """Names that are not UTF-8 are refused where they lie."""
    raw = text(8, b"\xff\xfe")
    (field,) = fields(raw, 0, len(raw))

    with pytest.raises(Malformed, match="not UTF-8"):
        text_of(raw, field)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_fields_or_in_a_refusal(raw: bytes) -> None:
    """The walk never hangs, and never leaves its message."""
    try:
        found = list(fields(raw, 0, len(raw)))
    except Malformed:
        return

    assert all(0 <= f.start < f.value <= f.stop <= len(raw) for f in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_rewrite_that_keeps_all_tensors_keeps_every_byte(name: str) -> None:
    """The identity: one span, the whole model."""
    raw = onnx_model(name).SerializeToString()

    assert rewritten(raw, "model", Span(0, len(raw)), lambda *_: None) == [Span(0, len(raw))]


@pytest.mark.parametrize("name", NAMES)
def test_a_rewrite_finds_every_tensor_at_any_depth(name: str) -> None:
    """Tensors replaced by a named stub, in bodies, attributes, functions and sparse weights alike."""
    raw = onnx_model(name).SerializeToString()
    seen = []

    def on_tensor(start: int, stop: int) -> list[bytes | Span]:
        seen.append(onnx.TensorProto.FromString(raw[start:stop]))
        return [text(8, "stub")]

    model = onnx.ModelProto.FromString(joined(rewritten(raw, "model", Span(0, len(raw)), on_tensor), raw))

    assert len(seen) == len(tensors(onnx_model(name)))
    assert {tensor.name for tensor in tensors(model)} == ({"stub"} if seen else set())
    assert [n.op_type for n in model.graph.node] == [n.op_type for n in onnx_model(name).graph.node]


def test_messages_nested_beyond_reason_are_refused() -> None:
    """A file of boxes in boxes exhausts nobody's stack."""
    raw = text(1, b"x" * 8)
    for _ in range(120):
        raw = text(1, text(5, text(6, raw)))

    with pytest.raises(Malformed, match="nest deeper"):
        rewritten(raw, "graph", Span(0, len(raw)), lambda *_: None)


def test_pieces_merge_where_they_touch() -> None:
    """Neighbouring spans of one file become one copy."""
    pieces = [b"a", b"b", Span(0, 4), Span(4, 9), Span(10, 11), Span(11, 11)]

    assert merged(pieces) == [b"ab", Span(0, 9), Span(10, 11)]
    assert size(message(7, pieces)) == size(pieces) + 2
