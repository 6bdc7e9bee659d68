"""Which nodes and weights a part needs."""

from __future__ import annotations

from pathlib import Path

from partita.engine.onnx_capture import capture_onnx
from partita.testing.onnx_models import write_onnx


def test_nodes_that_travel_are_in_every_part_that_needs_them(tmp_path: Path) -> None:
    """The Constant of Clip is in its part, and in no other."""
    source = capture_onnx(write_onnx("optional_input", tmp_path)).source
    ops = [[source.graph.nodes[i].op for i in source.node_indices(a, a + 1)] for a in range(3)]

    assert ops == [["MatMul"], ["Constant", "Clip"], ["Exp"]]


def test_weights_are_listed_once(tmp_path: Path) -> None:
    """Also where two stages of a part share one."""
    source = capture_onnx(write_onnx("tied", tmp_path)).source

    assert source.weights(0, 4) == ("table", "w")
    assert source.weights(2, 4) == ("table",)


def test_inputs_that_only_pass_through_are_not_read(tmp_path: Path) -> None:
    """The last part is given the early output and does not use it."""
    source = capture_onnx(write_onnx("early_output", tmp_path)).source

    assert source.chain.part_inputs(3, 4) == ("early", "c")
    assert [spec.name for spec in source.reads(3, 4)] == ["c"]
