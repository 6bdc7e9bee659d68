"""The order in memory in which a tensor holds its axes, so that a part lays its inputs out as the whole had them.

Rule: only dense tensors have an order worth keeping; what overlaps or has gaps travels row by row.
"""

from __future__ import annotations

from typing import Any

import torch


def memory_order(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The order of axes in memory where a dense tensor is not laid out row by row; else None."""
    sizes = [_hint(s) for s in tensor.shape]
    strides = [_hint(s) for s in tensor.stride()]
    order = tuple(sorted(range(tensor.ndim), key=lambda i: (-strides[i], -sizes[i], i)))
    step = 1
    for axis in reversed(order):
        if sizes[axis] > 1 and strides[axis] != step:
            return None  # overlaps or has gaps: an expanded or sliced tensor, which travels row by row
        step *= sizes[axis]
    return None if order == tuple(range(tensor.ndim)) else order


def _hint(size: Any) -> int:
    return int(size.node.hint or 0) if isinstance(size, torch.SymInt) else int(size)


def lay_out(tensor: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    """The tensor in the memory order of the whole: kernels may add up in another order on another layout."""
    turned = tensor.permute(order)
    if turned.is_contiguous():
        return tensor
    back = sorted(range(len(order)), key=order.__getitem__)
    return turned.contiguous().permute(back)
