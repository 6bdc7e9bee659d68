"""Where the batch of every feature lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from partita.errors import CannotCapture
from partita.serve.exporting import export

Write = Callable[[str], Path]


def test_a_network_with_one_exit_holds_its_inputs_only(onnx_exits: Write, tmp_path: Path) -> None:
    """There is no border inside, and nothing to look at."""
    path = onnx_exits("one (float[batch, 4] x) => (float[batch, 3] y) <float[4, 3] w> { y = MatMul(x, w) }")
    made = export(path, tmp_path / "model")

    assert [[(f.name, f.axis) for f in border] for border in made.borders] == [[("x", 0)]]
    assert list(made.spans) == ["0-0"]


def test_a_feature_without_samples_that_depends_on_them_is_refused(onnx_exits: Write, tmp_path: Path) -> None:
    """The largest of a batch is nobody's feature."""
    path = onnx_exits("""
        most (float[batch, 16] x) => (float[batch, 3] early, float[batch, 3] late)
        <float[16, 16] w, float[16, 3] h, float[16, 3] g> {
            axes = Constant <value = int64[1] {0}> ()
            f = MatMul(x, w)
            most = ReduceMax <keepdims = 1> (f, axes)
            e = Add(x, most)
            early = MatMul(e, h)
            t = Mul(x, most)
            late = MatMul(t, g)
        }""")

    with pytest.raises(CannotCapture, match="'most' crosses between two stages and belongs to no sample"):
        export(path, tmp_path / "model")


def test_a_feature_of_pairs_of_samples_is_refused(onnx_exits: Write, tmp_path: Path) -> None:
    """Its sizes for two batches are named."""
    path = onnx_exits("""
        pairs (float[batch, 4] x) => (float[batch, 3] early, float[batch, 3] late)
        <float[4, 3] h, float[4, 3] g> {
            t = Transpose <perm = [1, 0]> (x)
            near = MatMul(x, t)
            e = MatMul(near, x)
            early = MatMul(e, h)
            n = Tanh(near)
            m = MatMul(n, x)
            late = MatMul(m, g)
        }""")

    with pytest.raises(CannotCapture, match=r"\[2, 2\] and \[3, 3\] for 2 and 3 samples"):
        export(path, tmp_path / "model")


def test_a_feature_with_the_batch_behind_is_understood(onnx_exits: Write, tmp_path: Path) -> None:
    """Networks for sequences keep it in the second place."""
    path = onnx_exits("""
        behind (float[batch, 5, 4] x) => (float[batch, 3] early, float[batch, 3] late)
        <float[4, 4] w, float[4, 3] h, float[4, 3] g> {
            axes = Constant <value = int64[1] {0}> ()
            f = Transpose <perm = [1, 0, 2]> (x)
            s = MatMul(f, w)
            e = ReduceMean <keepdims = 0> (s, axes)
            early = MatMul(e, h)
            t = Tanh(s)
            m = ReduceMax <keepdims = 0> (t, axes)
            late = MatMul(m, g)
        }""")
    (feature,) = export(path, tmp_path / "model").borders[1]

    assert (feature.name, feature.axis, feature.each) == ("s", 1, 1)
