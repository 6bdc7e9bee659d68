"""How much arithmetic a part of an ONNX model is: the multiplications and additions of its products.

Rules: convolutions, matrix products and attention are counted, 2 for each multiply-add, for one sample; what is
elementwise is not, and neither is what a table gives; where a size or an operator cannot be counted the answer is
None, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from ..errors import PartitaError
from .onnx_graph import Node
from .onnx_source import OnnxSource

_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "ConvInteger", "QLinearConv", "ConvTranspose"})
_PRODUCTS = frozenset({"MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulInteger", "QLinearMatMul"})
# Operators with products inside that are not counted here.
_UNCOUNTED = frozenset(
    {"LSTM", "GRU", "RNN", "Einsum", "Attention", "MultiHeadAttention", "QAttention", "GroupQueryAttention"}
)


def flops(source: OnnxSource, bind: Mapping[str, int]) -> float | None:
    """Floating-point operations of all stages of a source, at the sizes given for open dimensions."""
    total = 0.0
    local = {key[:2] for key in source.graph.functions}
    for step in source.steps:
        node = step.node
        if node is None:
            continue
        if node.control or (node.domain, node.op) in local or node.op in _UNCOUNTED:
            return None
        if node.op in _CONVOLUTIONS or node.op in _PRODUCTS:
            found = _products(source, node, bind)
            if found is None:
                return None
            total += 2.0 * found
    return total


def _products(source: OnnxSource, node: Node, bind: Mapping[str, int]) -> int | None:
    """The multiply-adds of one node."""
    made, taken = _shape(source, node.makes[0], bind), _shape(source, node.inputs[0], bind)
    if made is None or taken is None:
        return None
    if node.op in _PRODUCTS:
        transposed = node.op in ("Gemm", "FusedGemm", "FusedMatMul") and _attribute(source, node, "transA", 0)
        return prod(made) * taken[-2 if transposed else -1]
    weight = node.inputs[3 if node.op == "QLinearConv" else 1]
    kernel = _shape(source, weight, bind)
    if kernel is None:
        return None
    if node.op == "ConvTranspose":
        return prod(taken) * prod(kernel[1:])
    return prod(made) * prod(kernel[1:])


def _attribute(source: OnnxSource, node: Node, name: str, default: Any) -> Any:
    found = source.file.proto.graph.node[node.index].attribute
    return next((attribute.i for attribute in found if attribute.name == name), default)


def _shape(source: OnnxSource, name: str, bind: Mapping[str, int]) -> tuple[int, ...] | None:
    if (place := source.weight_index.get(name)) is not None:
        dense = source.file.initializers
        return dense[place].dims if place < len(dense) else None
    spec = source.chain.tensors.get(name)
    if spec is None:
        return None
    try:
        return spec.bound(bind)
    except PartitaError:
        return None
