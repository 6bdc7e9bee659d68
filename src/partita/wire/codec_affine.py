"""Affine quantization to 8, 4 or 2 bits: each value becomes the nearest of 2^b evenly spaced levels.

    lo, hi = min, max        step = (hi - lo) / (2^b - 1)        code = round((x - lo) / step)        x' = code * step + lo

Three rules. The levels span exactly what is there, so nothing is clipped and the error is at most half a step.
Work goes block by block through buffers that stay in the cache; two passes over the tensor and no copy of it.
Decoding uses only single IEEE operations in a fixed order, so that both ends get the same bits on any processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from .codec_name import CodecName
from .codec_plain import Unfit, dtype_of
from .codec_sizes import channel_layout

__all__ = ["Affine"]

Array = NDArray[Any]
Places = tuple[slice, slice, slice]

# 256 KiB of float32: a block and its work buffer fit the second-level cache of a Raspberry Pi 4 (1 MiB shared).
_BLOCK = 1 << 16
# Steps within these bounds have a float32 reciprocal and span that neither overflow nor lose bits.
_TINY, _HUGE = 1e-30, 1e30


@final
class Affine:
    """The scheme behind int8, int4 and int2."""

    def __init__(self, name: CodecName) -> None:
        self.name = name
        self.levels = (1 << name.bits) - 1

    def pack(self, array: Array, draw: int) -> list[Array]:
        """Parameters (all lows, then all steps) and packed codes; non-finite values are `Unfit`."""
        values = array.reshape(channel_layout(self.name, array.shape))
        if values.dtype.itemsize < 4:
            values = values.astype(np.float32)
        low, step = _span(values, self.levels)
        codes = np.empty(values.shape, np.uint8)
        noise = (
            None
            if self.name.seed is None
            else np.random.Generator(np.random.Philox([self.name.seed, draw % (1 << 64)]))
        )
        work = _work_dtype(values.dtype, step, self.levels)
        base = low.astype(work)[:, None]
        inverse = np.divide(1.0, step, out=np.zeros_like(step, work), where=step > 0, dtype=work)[:, None]
        for place in _blocks(values.shape):
            block = np.subtract(values[place], base[place[1]], dtype=work)
            np.multiply(block, inverse[place[1]], out=block)
            self._round(block, noise)
            np.copyto(codes[place], block, casting="unsafe")
        return [np.concatenate([low, step]), _pack_bits(codes.reshape(-1), self.name.bits)]

    def _round(self, block: Array, noise: np.random.Generator | None) -> None:
        if noise is None:
            np.rint(block, out=block)
        else:
            # Rounding up with the probability of the remainder: right on average, twice as wrong at worst.
            np.add(block, noise.random(block.shape, dtype=np.float32), out=block)
            np.floor(block, out=block)
        np.minimum(block, self.levels, out=block)

    def unpack(self, buffers: list[Array], dtype: str, shape: tuple[int, ...]) -> Array:
        """The tensor again; parameters that are not finite or not ascending are `Unfit`."""
        out_dtype = dtype_of(dtype)
        parameters = buffers[0].view(np.float64 if dtype == "float64" else np.float32)
        low, step = np.split(parameters, 2)
        if not (np.isfinite(parameters).all() and (step >= 0).all()):
            raise Unfit("parameters are not finite, or a step is negative")
        layout = channel_layout(self.name, shape)
        codes = _unpack_bits(buffers[1], self.name.bits, layout[0] * layout[1] * layout[2]).reshape(layout)
        narrow = np.dtype(np.float32) if out_dtype.itemsize < 4 else out_dtype
        work = _work_dtype(narrow, step, self.levels)
        base, scale = low.astype(work)[:, None], step.astype(work)[:, None]
        out = np.empty(layout, narrow)
        with np.errstate(over="ignore"):  # only parameters of a hostile sender overflow, and to infinity
            for place in _blocks(layout):
                _dequantize(codes[place], base[place[1]], scale[place[1]], out[place])
            return out.astype(out_dtype, copy=False).reshape(shape)


def _dequantize(codes: Array, base: Array, scale: Array, out: Array) -> None:
    if out.dtype == base.dtype:
        np.multiply(codes, scale, out=out)
        np.add(out, base, out=out)
        return
    wide = np.multiply(codes, scale, dtype=base.dtype)
    np.add(wide, base, out=wide)
    # The top level may lie half a rounding above the largest float; it came from a finite value.
    limits = np.finfo(out.dtype)
    np.clip(wide, limits.min, limits.max, out=out, casting="same_kind")


def _span(values: Array, levels: int) -> tuple[Array, Array]:
    """The lowest value and the step of each channel, with the step rounded up so that no code exceeds the top."""
    low = values.min(axis=0).min(axis=1)
    high = values.max(axis=0).max(axis=1)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise Unfit("non-finite")
    exact = high.astype(np.float64) / levels - low.astype(np.float64) / levels
    if values.dtype == np.float64:
        # There is no wider type to work in: spans near either end of float64 travel raw.
        if ((exact != 0) & ((exact < 1e-290) | (exact > 1e290))).any():
            raise Unfit("range")
        return low, exact
    step = exact.astype(values.dtype)
    short = step.astype(np.float64) < exact
    return low, np.where(short, np.nextafter(step, np.float32(np.inf)), step)


def _work_dtype(dtype: np.dtype[Any], step: Array, levels: int) -> np.dtype[Any]:
    """float32 unless spans are so small or large that it would lose them."""
    spans = step.astype(np.float64) * levels
    used = spans[spans > 0]
    if used.size and (used.min() < _TINY or used.max() > _HUGE):
        return np.dtype(np.float64)
    return dtype


def _blocks(layout: tuple[int, int, int]) -> Iterator[Places]:
    """Slices that walk the tensor in memory order, about `_BLOCK` values at a time."""
    outer, channels, inner = layout
    by_inner = max(1, min(inner, _BLOCK))
    by_channel = max(1, min(channels, _BLOCK // by_inner)) if by_inner == inner else 1
    by_outer = max(1, _BLOCK // (channels * inner)) if by_channel == channels and by_inner == inner else 1
    for o in range(0, outer, by_outer):
        for c in range(0, channels, by_channel):
            for i in range(0, inner, by_inner):
                yield slice(o, o + by_outer), slice(c, c + by_channel), slice(i, i + by_inner)


def _pack_bits(codes: Array, bits: int) -> Array:
    """4-bit codes two to a byte, 2-bit codes four to a byte, the first in the lowest bits."""
    if bits == 8:
        return codes
    per_byte = 8 // bits
    if spare := -codes.size % per_byte:
        codes = np.concatenate([codes, np.zeros(spare, np.uint8)])
    word = codes.view(f"<u{per_byte}")
    packed = word.copy()
    for position in range(1, per_byte):
        # Byte p of the word moves down to bit p * bits.
        packed |= word >> (position * (8 - bits))
    return packed.astype(np.uint8)


def _unpack_bits(packed: Array, bits: int, size: int) -> Array:
    if bits == 8:
        return packed
    return _table(bits).take(packed).view(np.uint8)[:size]


def _table(bits: int) -> Array:
    """For each byte, its codes as the bytes of one word: unpacking is one look-up."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    codes = (np.arange(256, dtype=np.uint8)[:, None] >> shifts) & ((1 << bits) - 1)
    return np.ascontiguousarray(codes).view(f"<u{per_byte}").reshape(-1)
