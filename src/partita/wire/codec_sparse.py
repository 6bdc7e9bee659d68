"""Top-k: the largest values of each row, and where they were; the rest become zero.

Three rules. A row is a sample (the first axis), so that no sample starves beside a louder one.
Every row keeps the same number of values, and ties go to the first, so sizes are known and results repeat.
Places travel as a bitmap or as indices of the smallest type, whichever is shorter: a function of the shape alone.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from .codec_name import CodecName
from .codec_plain import Unfit, dtype_of, narrowed
from .codec_sizes import index_bytes, kept, rows_and_columns

__all__ = ["TopK"]

Array = NDArray[Any]


@final
class TopK:
    """The scheme behind topk:FRACTION."""

    def __init__(self, name: CodecName) -> None:
        self._fraction = name.fraction
        self._values = np.dtype(np.float32 if name.wide else np.float16)

    def pack(self, array: Array, draw: int) -> list[Array]:  # noqa: ARG002  (one signature for all schemes)
        """Values, then places. Non-finite values are `Unfit`: there is no order among them."""
        rows, columns = rows_and_columns(array.shape)
        values = array.reshape(rows, columns)
        if values.dtype.itemsize < 4:
            values = values.astype(np.float32)
        size = np.abs(values)
        if not np.isfinite(size.max()):
            raise Unfit("non-finite")
        count = kept(self._fraction, columns)
        mask = _largest(size, count)
        chosen = narrowed(np.compress(mask.reshape(-1), values), self._values)
        width = index_bytes(columns, count)
        if not width:
            return [chosen, np.packbits(mask, axis=1, bitorder="little")]
        places = np.flatnonzero(mask).reshape(rows, count) - np.arange(rows)[:, None] * columns
        return [chosen, places.astype(f"<u{width}")]

    def unpack(self, buffers: list[Array], dtype: str, shape: tuple[int, ...]) -> Array:
        """Zeros with the values in their places; places that do not fit the shape are `Unfit`."""
        rows, columns = rows_and_columns(shape)
        count = kept(self._fraction, columns)
        width = index_bytes(columns, count)
        if width:
            places = _listed(buffers[1].view(f"<u{width}").reshape(rows, count), columns)
        else:
            places = _mapped(buffers[1].reshape(rows, -1), columns, count)
        out = np.zeros(rows * columns, dtype_of(dtype))
        with np.errstate(over="ignore"):  # a hostile value beyond the narrower type becomes infinite
            out[places] = buffers[0].view(self._values).astype(out.dtype)
        return out.reshape(shape)


def _largest(size: Array, count: int) -> NDArray[np.bool_]:
    """Which values are the `count` largest of their row."""
    edge = np.partition(size, size.shape[1] - count, axis=1)[:, size.shape[1] - count, None]
    mask: NDArray[np.bool_] = size >= edge
    if np.count_nonzero(mask) == count * size.shape[0]:
        return mask
    above = size > edge
    tied = mask & ~above
    room = count - np.count_nonzero(above, axis=1)
    first: NDArray[np.bool_] = np.cumsum(tied, axis=1) <= room[:, None]
    return np.logical_or(above, tied & first, out=mask)


def _listed(places: Array, columns: int) -> Array:
    listed = places.astype(np.int64)
    if (listed >= columns).any() or (np.diff(listed, axis=1) <= 0).any():
        raise Unfit("places do not ascend within the row")
    return (listed + np.arange(len(listed))[:, None] * columns).reshape(-1)


def _mapped(bitmap: Array, columns: int, count: int) -> Array:
    bits = np.unpackbits(bitmap, axis=1, bitorder="little").view(np.bool_)
    if bits[:, columns:].any() or (np.count_nonzero(bits, axis=1) != count).any():
        raise Unfit(f"the bitmap does not mark {count} places in each row")
    return np.flatnonzero(bits[:, :columns])
