"""Types and dimensions: inferred, bound, or given a symbol of their own."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from partita.engine.onnx_types import Namer, spec_of, type_proto, typed, unsized
from partita.errors import BadDocument
from partita.graph import DType, TensorSpec
from partita.testing.onnx_models import onnx_model

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'


def parsed(text: str) -> Any:
    """A model from its text."""
    return onnx.parser.parse_model(HEAD + text)


def test_symbols_are_carried_through_the_graph() -> None:
    """Batch and sequence stay open, by the names the file gives them."""
    specs, _ = typed(onnx_model("two_inputs"), {})

    assert specs["g"] == TensorSpec("g", DType.FLOAT32, ("batch", "seq", 8))


def test_bound_symbols_become_numbers_everywhere() -> None:
    """What is inferred after binding is as concrete as its inputs."""
    specs, _ = typed(onnx_model("two_inputs"), {"seq": 16})

    assert specs["ids"].shape == ("batch", 16)
    assert specs["g"].shape == ("batch", 16, 8)


def test_binding_what_is_not_open_is_refused_with_all_problems() -> None:
    """A misspelt symbol and a negative size, and the symbols that there are."""
    with pytest.raises(BadDocument, match=r"'sq' is no open dimension; 'batch' must be at least 0") as error:
        typed(onnx_model("two_inputs"), {"sq": 4, "batch": -1})

    assert "batch, seq" in error.value.fix


def test_formulas_in_the_file_are_evaluated_when_they_can_be() -> None:
    """`2*batch` in the file's own value info follows `batch`."""
    model = onnx_model("skip")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "2*batch"
    specs, _ = typed(model, {"batch": 3})

    assert specs["x"].shape == (3, 8)
    assert specs["y"].shape is not None


def test_a_dimension_without_a_name_gets_one_that_inference_carries() -> None:
    """An exporter's `?` on an input becomes a symbol, and its readers have the same."""
    model = parsed("g (float[?, 8] x) => (float[?, 8] y) { y = Tanh(x) }")
    specs, namer = typed(model, {})

    assert specs["x"].shape == ("x_d0", 8)
    assert "x_d0" in namer.given
    assert typed(model, {"x_d0": 5})[0]["x"].shape == (5, 8)


def test_made_up_symbols_collide_with_nothing() -> None:
    """Two tensors whose names differ only in what no symbol may hold stay apart."""
    namer = Namer({"a_b_d0"})

    assert namer.name("a.b", 0) == "a_b_d0_"
    assert namer.name("a/b", 0) == "a_b_d0__"
    assert namer.name("7", 1) == "_7_d1"


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("seq(float[2])", DType.SEQUENCE), ("optional(float[2])", DType.OPTIONAL)],
)
def test_what_is_no_tensor_has_a_type_that_does_not_travel(kind: str, dtype: DType) -> None:
    """Sequences and optionals are named for what they are."""
    value = onnx.parser.parse_graph(f"g ({kind} x) => () {{}}").input[0]

    assert spec_of("x", value.type, Namer(())) == TensorSpec("x", dtype, None)


def test_an_unknown_rank_stays_unknown() -> None:
    """No shape is not the shape of a scalar."""
    kind = onnx.TypeProto()
    kind.tensor_type.elem_type = 1

    assert spec_of("x", kind, Namer(())).shape is None


def test_symbols_of_our_own_are_not_promised_in_files() -> None:
    """The file's symbols are written, ours are left open."""
    kind = type_proto(TensorSpec("x", DType.BFLOAT16, ("batch", "x_d1", 4)), frozenset({"x_d1"}))
    dims = kind.tensor_type.shape.dim

    assert kind.tensor_type.elem_type == onnx.TensorProto.BFLOAT16
    assert [(d.dim_param, d.dim_value) for d in dims] == [("batch", 0), ("", 0), ("", 4)]


def test_an_observed_rank_is_written_without_sizes() -> None:
    """ONNX asks for a shape; only its length is promised."""
    kind = type_proto(unsized(TensorSpec("x", DType.FLOAT32, ("batch", 4))), frozenset())

    assert [d.WhichOneof("value") for d in kind.tensor_type.shape.dim] == [None, None]


def test_what_inference_cannot_read_is_left_to_the_file() -> None:
    """An operator set from the future stops inference, not us."""
    model = onnx_model("skip")
    model.opset_import[0].version = 999

    assert typed(model, {})[0]["x"].shape == ("batch", 8)
