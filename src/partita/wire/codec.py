"""How a tensor becomes fewer bytes, and a tensor again: `parse_codec("int8").encode(array)`, `decode(encoded)`.

    codec_name      the text form          codec_plain     raw, fp16, bf16       codec_lossless   shuffle and zstandard
    codec_sizes     bytes without bytes    codec_affine    int8, int4, int2      codec_head       the description, checked
                                           codec_sparse    topk

Three rules. Lossy codecs touch floats only; integers, booleans and tensors they would not shrink travel raw.
Values that a codec would destroy (NaN or infinity under int8, 1e6 under fp16) travel raw, and the head says instead of what.
A receiver needs no agreement: the head names what was applied, and all of it is checked before memory is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import FrameCorrupt
from .codec_affine import Affine
from .codec_head import MAX_TENSOR_BYTES, Encoded, TensorHead, buffer_lengths, check_buffers, check_head
from .codec_lossless import compress, expand
from .codec_name import CodecName, parse_name
from .codec_plain import Half, Raw, Scheme, Unfit, as_bytes
from .codec_sizes import applied_name, codec_ratio, encoded_bytes, payload_layout
from .codec_sparse import TopK

__all__ = ["Codec", "decode", "encode", "encode_raw", "parse_codec"]

Array = NDArray[Any]


@final
@dataclass(frozen=True, slots=True)
class Codec:
    """One way to make a tensor smaller. It holds no state: the same tensor and draw give the same bytes."""

    name: CodecName

    def encode(self, array: Array, *, draw: int = 0) -> Encoded:
        """Encode one tensor. `draw` (a step number) moves the noise of a stochastic codec; others ignore it."""
        plain = _wire_order(array)
        name = applied_name(self.name, plain.dtype.name, plain.shape)
        try:
            return _encoded(name, plain, draw)
        except Unfit as why:
            return encode_raw(plain, instead_of=self.name, why=str(why))

    def encoded_bytes(self, dtype: str, shape: tuple[int, ...]) -> int:
        """The payload bytes of such a tensor, exact except behind a lossless stage."""
        return encoded_bytes(self.name, dtype, shape)

    def ratio(self, dtype: str = "float32") -> float:
        """How many times smaller a large tensor becomes."""
        return codec_ratio(self.name, dtype)

    @property
    def unbiased(self) -> bool:
        """Whether errors are zero on average but not smallest: such a codec must not be combined with a memory."""
        return self.name.seed is not None

    def __str__(self) -> str:
        return str(self.name)


@lru_cache(maxsize=256)
def parse_codec(text: str) -> Codec:
    """The codec of a name such as `int8/channel` or `topk:0.1+lossless`; `str` of it parses back."""
    return Codec(parse_name(text))


def encode(array: Array, codec: str = "raw", *, draw: int = 0) -> Encoded:
    """Encode one tensor by the name of a codec."""
    return parse_codec(codec).encode(array, draw=draw)


def encode_raw(array: Array, *, instead_of: CodecName, why: str) -> Encoded:
    """Encode as it is, with a head that says which codec was asked for and why it was not applied."""
    name = CodecName("raw", lossless=instead_of.lossless)
    encoded = _encoded(name, _wire_order(array), 0)
    meta = {**encoded.head.meta, "instead_of": str(instead_of), "why": why}
    return replace(encoded, head=msgspec.structs.replace(encoded.head, meta=meta))


def decode(encoded: Encoded, *, limit: int = MAX_TENSOR_BYTES) -> Array:
    """The tensor again, from a source that need not be trusted. Raw tensors are views of their buffer.

    Working memory follows from the limit, never from what a head or a compressed frame claims.
    """
    head = encoded.head
    name = check_head(head, limit)
    check_buffers(head, encoded.buffers, buffer_lengths(head, limit))
    slots = payload_layout(name.plain(), head.dtype, head.shape)
    try:
        if name.lossless:
            parts = [expand(data, slot) for data, slot in zip(encoded.buffers, slots, strict=True)]
        else:
            parts = [np.frombuffer(data, np.uint8) for data in encoded.buffers]
        return _scheme(name.plain()).unpack(parts, head.dtype, head.shape)
    except Unfit as error:
        raise FrameCorrupt(
            f"tensor of codec {head.codec}, {head.dtype} {head.shape}: buffers: {error}",
            fix="check that both sides run the same version of partita, and that nothing on the way changes bytes",
        ) from error


def _encoded(name: CodecName, array: Array, draw: int) -> Encoded:
    parts = [as_bytes(part) for part in _scheme(name.plain()).pack(array, draw)]
    dtype = array.dtype.name
    if not name.lossless:
        return Encoded(TensorHead(str(name), dtype, array.shape), tuple(part.data for part in parts))
    slots = payload_layout(name.plain(), dtype, array.shape)
    buffers = tuple(compress(part, slot) for part, slot in zip(parts, slots, strict=True))
    stored = tuple(len(buffer) for buffer in buffers)
    return Encoded(TensorHead(str(name), dtype, array.shape, {"stored": stored}), buffers)


def _wire_order(array: Array) -> Array:
    """The array in C order and little-endian: itself if it already is."""
    if array.dtype.str.startswith(">"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.asarray(array, order="C")


@lru_cache(maxsize=256)
def _scheme(name: CodecName) -> Scheme:
    if name.kind == "affine":
        return Affine(name)
    if name.kind == "topk":
        return TopK(name)
    return Raw() if name.kind == "raw" else Half(name)
