"""Formulas from observed sizes: found where they are true, and not where they only look so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_observe import fitted
from partita.graph import evaluate
from partita.testing.onnx_models import write_onnx

RUNS = [{"n": 3, "s": 11}, {"n": 17, "s": 23}, {"n": 41, "s": 47}, {"n": 5, "s": 13}]


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        ("7", 7),
        ("n", "n"),
        ("4*n", "4*n"),
        ("2*s+1", "2*s + 1"),
        ("n-1", "n - 1"),
        ("n*s", "n*s"),
        ("12*n*s", "12*n*s"),
        ("n+s", "n + s"),
        ("n+s+2", "n + s + 2"),
        ("s*s", "s*s"),
    ],
)
def test_a_formula_is_found_in_its_sizes(formula: str, found: object) -> None:
    """Constants, lines, sums and products, each in its simplest form."""
    assert fitted([evaluate(formula, run) for run in RUNS], RUNS, ["n", "s"]) == found


@given(st.lists(st.integers(0, 200), min_size=4, max_size=4))
def test_what_is_found_explains_every_run(sizes: list[int]) -> None:
    """A formula is exact for all sizes that were seen, or there is none."""
    found = fitted(sizes, RUNS, ["n", "s"])

    assert found is None or [evaluate(found, run) for run in RUNS] == sizes


def test_nothing_is_concluded_from_nothing() -> None:
    """An empty result may have been the zeros that stood in for the weights."""
    assert fitted([0, 0, 0, 0], RUNS, ["n", "s"]) is None


def test_sizes_that_inference_gives_up_on_are_found_by_running(tmp_path: Path) -> None:
    """A reshape to a shape that went through arithmetic: known to be `batch` rows of 24."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[batch, seq, 6] x) => (float[r, c] y) {
        shape = Shape(x)  f = Cast <to = 1> (shape)  g = Sqrt(f)  h = Mul(g, g)  i = Round(h)
        s = Cast <to = 7> (i)  z = Constant <value = int64[1] {0}> ()  o = Constant <value = int64[1] {1}> ()
        a = Gather(s, z)  b = Gather(s, o)  ab = Mul(a, b)
        m = Constant <value = int64[1] {-1}> ()  to = Concat <axis = 0> (ab, m)  q = Reshape(x, to)  y = Tanh(q)
    }"""
    path = tmp_path / "hidden.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    inferred, seen = capture_onnx(path, observe=False).chain, capture_onnx(path).chain

    assert inferred.tensors["q"].symbols - {"batch", "seq"}
    assert seen.tensors["q"].shape == ("batch*seq", 6)


def test_a_size_that_depends_on_data_keeps_its_own_symbol(tmp_path: Path) -> None:
    """What NonZero finds in zeros says nothing about what it finds in numbers."""
    chain = capture_onnx(write_onnx("found", tmp_path)).chain

    assert not chain.tensors["g"].symbols & {"batch"}
    assert chain.tensors["a"].shape == ("batch", 8)


def test_one_run_with_own_inputs_still_tells_the_ranks(tmp_path: Path) -> None:
    """Made-up sizes do not fit a Reshape to [3, 4]; the user's example does."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[n] x, int64[r] to) => (float[p, q] y) {
        a = Neg(x)  b = Reshape(a, to)  c = Tanh(b)  y = Neg(c)
    }"""
    path = tmp_path / "ranks.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    example = {"x": np.ones(12, np.float32), "to": np.array([3, 4])}

    assert capture_onnx(path).chain.tensors["b"].shape is None
    assert len(capture_onnx(path, example=example).chain.tensors["b"].shape or ()) == 2
