"""Bytes of models: what is not whole, not ours or changed on the way is refused in one sentence."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from partita.engine.torch_capture import capture_torch
from partita.engine.torch_portable import pack_torch, unpack_torch
from partita.engine.torch_portable_head import LARGEST_HEAD, MARK, VERSION, Head, join, part
from partita.errors import BadDocument, FrameCorrupt, FrameTooLarge, PartitaError

START = len(MARK) + 10
MOST = 1 << 20


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            scale = torch.tensor([1.0, 2.0]) * x.shape[0]
        return self.last(self.norm(x).relu_()) * scale


@cache
def small() -> bytes:
    return pack_torch(capture_torch(Small(), (torch.ones(2, 4),)))


def test_what_is_joined_comes_apart_again() -> None:
    """Head and constants."""
    head, buffers = part(small(), MOST)

    assert join(head, [bytes(b) for b in buffers]) == small()
    assert [len(b) for b in buffers] == [8, 8]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "0 bytes are no model"),
        (b"\x80\x04\x95" * 20, "do not begin like a model"),
        (b"PK\x03\x04" * 20, "do not begin like a model"),
        (MARK + (VERSION + 1).to_bytes(2, "little") + bytes(8), "only version 1 is known here"),
        (MARK + VERSION.to_bytes(2, "little") + (500).to_bytes(8, "little"), "a head of 500 bytes"),
    ],
)
def test_bytes_that_are_no_model_are_refused(data: bytes, problem: str) -> None:
    """Nothing, pickles, zip files, later versions, half a model."""
    with pytest.raises(FrameCorrupt, match=problem):
        unpack_torch(data)


def test_a_head_beyond_the_bound_is_refused_before_it_is_read() -> None:
    """By the length it claims, and by the length it would have."""
    with pytest.raises(FrameTooLarge, match="are allowed"):
        unpack_torch(MARK + VERSION.to_bytes(2, "little") + (LARGEST_HEAD + 1).to_bytes(8, "little"))
    head, _ = part(small(), MOST)
    with pytest.raises(BadDocument, match=r"takes .* bytes as data"):
        join(msgspec.structs.replace(head, absent="x" * LARGEST_HEAD), ())


def test_constants_have_the_bytes_they_claim_and_no_more_than_allowed() -> None:
    """Neither cut short nor followed by anything."""
    for data in (small()[:-1], small() + b"x"):
        with pytest.raises(FrameCorrupt, match="follow the head"):
            unpack_torch(data)
    with pytest.raises(FrameCorrupt, match="does not go with"):
        unpack_torch(small() + bytes(100), most_bytes=50)


def test_lists_without_end_are_refused() -> None:
    """A head that nests until the reader would run out of stack."""
    plain = msgspec.msgpack.encode(msgspec.msgpack.decode(head_of(small())))
    deep = plain + b"\x92\x01\x91" * 100_000
    for text in (deep, b"\x92\x01\x91" * 100_000 + b"\xc0"):
        with pytest.raises(FrameCorrupt, match="does not parse"):
            unpack_torch(framed(text))


def head_of(data: bytes) -> bytes:
    return data[START : START + int.from_bytes(data[START - 8 : START], "little")]


def framed(text: bytes, rest: bytes = b"") -> bytes:
    return MARK + VERSION.to_bytes(2, "little") + len(text).to_bytes(8, "little") + text + rest


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_changed_bytes_are_refused_or_still_a_model(data: st.DataObject) -> None:
    """Never anything but an error of ours."""
    whole = bytearray(small())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    attempt(bytes(whole))


ODD: list[Any] = [
    None,
    -1,
    0,
    1,
    1 << 40,
    (1 << 63) - 1,
    -(1 << 63),
    1.5,
    float("nan"),
    "",
    "batch",
    [],
    [0, 0],
    {},
]
ODD += [
    [0, 99999],
    [1, [[0, 0], 1]],
    [1, [100000, 100000]],
    [2, "dtype", "int64"],
    [3],
    "aten.zeros.default",
    "eval",
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_changed_heads_are_refused_or_still_a_model(data: st.DataObject) -> None:
    """One value anywhere is another, is missing, or is there twice."""
    head = msgspec.msgpack.decode(head_of(small()))
    places = list(walk(head))
    for _ in range(data.draw(st.integers(1, 2))):
        inside, key = data.draw(st.sampled_from(places))
        if isinstance(inside, list) and key < len(inside):
            change = data.draw(st.sampled_from(["other", "gone", "twice"]))
            if change == "gone":
                inside.pop(key)
            elif change == "twice":
                inside.insert(key, inside[key])
            else:
                inside[key] = data.draw(st.sampled_from(ODD))
        elif isinstance(inside, dict):
            inside[key] = data.draw(st.sampled_from(ODD))
    attempt(framed(msgspec.msgpack.encode(head), small()[-16:]))


def walk(value: Any) -> Any:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from walk(item)


def attempt(data: bytes) -> None:
    try:
        model = unpack_torch(data, most_bytes=MOST)
        model.hold(tuple(model.chain.params))
        values = {
            s.name: torch.ones(s.bound(dict.fromkeys(s.symbols, 3))).numpy()
            for s in model.chain.tensors.values()
        }
        part_ = model.part(0, len(model.chain))
        part_.forward({n: values[n] for n in part_.inputs})
    except PartitaError:
        pass


def test_a_head_says_what_it_is_made_of() -> None:
    """Field by field: what travels is what is listed here."""
    assert Head.__struct_fields__ == (
        "name", "torch", "batch", "operators", "states", "constants", "inputs", "graphs", "absent",
    )  # fmt: skip
