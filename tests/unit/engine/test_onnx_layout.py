"""What a part file keeps of the model, and what it leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_proof import prove
from partita.engine.onnx_run import METADATA, OnnxPart
from partita.errors import CannotCapture
from partita.testing.onnx_models import NAMES, onnx_model, write_onnx


def part(name: str, start: int, stop: int, folder: Path, **options: Any) -> Any:
    """A part of one of the small models, parsed again."""
    model = capture_onnx(write_onnx(name, folder), **options)
    (file,) = write_parts(model, [(start, stop)], folder / "parts")
    return onnx.load(file.path)


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_a_valid_model(name: str, tmp_path: Path) -> None:
    """By the checker of the onnx package, with full shape inference where the whole passes that too."""
    path = write_onnx(name, tmp_path)
    model = capture_onnx(path)
    full = True
    try:
        onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError:
        full = False  # inference knows nothing of sparse weights, nor of nodes out of order
    cuts = [cut.position for cut in model.chain.cuts if cut.legal]
    for file in write_parts(model, [(cuts[0], cuts[1]), (cuts[1], cuts[-1])], tmp_path / "parts"):
        onnx.checker.check_model(str(file.path), full_check=full)


def test_only_reachable_functions_and_operator_sets_are_kept(tmp_path: Path) -> None:
    """A part without a call has neither; one that calls from a body has what it calls."""
    without, body, whole = (part("functions", a, b, tmp_path) for a, b in ((0, 1), (2, 3), (0, 4)))

    assert [item.domain for item in without.opset_import] == [""]
    assert [item.name for item in without.functions] == []
    assert [item.name for item in body.functions] == ["inner"]
    assert [item.name for item in whole.functions] == ["inner", "outer"]
    assert [item.domain for item in body.opset_import] == ["", "mine"]


def test_metadata_and_annotations_stay_with_their_tensors(tmp_path: Path) -> None:
    """Also the weight that only an annotation refers to; elsewhere neither is there."""
    first, last = part("annotated", 0, 2, tmp_path), part("annotated", 5, 6, tmp_path)

    assert {entry.key for entry in first.metadata_props} == {"author", METADATA}
    assert (first.doc_string, first.graph.metadata_props[0].key) == ("what it is for", "step")
    assert [note.tensor_name for note in first.graph.quantization_annotation] == ["r"]
    assert {tensor.name for tensor in first.graph.initializer} == {"w1", "r_scale"}
    assert len(last.graph.quantization_annotation) == len(last.graph.initializer) == 0


def test_old_models_keep_their_weights_among_the_inputs(tmp_path: Path) -> None:
    """Before IR version 4 an initializer had to be an input as well."""
    found = part("old", 0, 1, tmp_path)

    assert found.ir_version == 3
    assert [value.name for value in found.graph.input] == ["x", "w1"]


def test_the_ends_of_a_part_have_types(tmp_path: Path) -> None:
    """Symbols of the file stay symbols, bound ones are numbers."""
    open_end = part("two_inputs", 1, 3, tmp_path).graph.output[0].type.tensor_type
    bound = part("two_inputs", 1, 3, tmp_path, dims={"seq": 4}).graph.output[0].type.tensor_type

    assert [d.dim_param or d.dim_value for d in open_end.shape.dim] == ["batch", "seq", 8]
    assert [d.dim_param or d.dim_value for d in bound.shape.dim] == ["batch", 4, 8]


def test_a_part_of_a_part_knows_itself_only(tmp_path: Path) -> None:
    """The note of the first cut does not survive the second."""
    model = capture_onnx(write_onnx("skip", tmp_path))
    (file,) = write_parts(model, [(2, 6)], tmp_path / "parts")
    again = capture_onnx(file.path)
    (inner,) = write_parts(again, [(0, 2)], tmp_path / "again")
    notes = [e.value for e in onnx.load(inner.path).metadata_props if e.key == METADATA]

    assert len(notes) == 1
    assert '"start": 0' in notes[0]


def with_inner_weight(place: str) -> Any:
    """A model with 16 KB in the body of an If, or in a Constant."""
    model = onnx_model("branch" if place == "body" else "optional_input")
    large = np.random.default_rng(0).standard_normal((512, 8)).astype(np.float32)
    tensor = onnx.numpy_helper.from_array(large, "inside")
    if place == "body":
        body = next(node for node in model.graph.node if node.op_type == "If").attribute[0].g
        body.initializer.append(tensor)
        body.node.append(onnx.helper.make_node("ReduceMean", ["inside"], ["mean"], keepdims=0))
        body.node.append(onnx.helper.make_node("Add", ["o", "mean"], ["p"]))
        body.output[0].name = "p"
    else:
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["inside"], value=tensor))
        model.graph.node.insert(1, onnx.helper.make_node("ReduceMean", ["inside"], ["mean"], keepdims=0))
        model.graph.node.append(onnx.helper.make_node("Add", ["y", "mean"], ["z"]))
        model.graph.output[0].name = "z"
    return model


@pytest.mark.parametrize("place", ["body", "constant"])
def test_large_tensors_inside_nodes_stay_in_them(place: str, tmp_path: Path) -> None:
    """The weights of a body and of a Constant are elided from the skeleton and come back whole."""
    path = tmp_path / "inside.onnx"
    path.write_bytes(with_inner_weight(place).SerializeToString())
    captured = capture_onnx(path)

    assert captured.source.file.proto.ByteSize() < 4096
    assert all(prove(captured, [cut]).equal for cut in range(1, len(captured.chain)))


@pytest.mark.parametrize("external", [None, False])
def test_weights_outside_that_belong_to_a_body_follow_their_node(
    external: bool | None, tmp_path: Path
) -> None:
    """Their place in the part's own data file is written into the body, at any depth."""
    path = tmp_path / "body.onnx"
    onnx.save_model(
        with_inner_weight("body"), path, save_as_external_data=True, location="body.data", size_threshold=1024
    )
    captured = capture_onnx(path)
    values = captured.example() | {"flag": np.array(True)}
    stage = next(index for index, stage in enumerate(captured.chain.stages) if stage.kind == "If")
    (file,) = write_parts(captured, [(stage, stage + 1)], tmp_path / "parts", external=external)
    held = values | captured.part(0, stage).forward({"x": values["x"]})
    part = OnnxPart.load(file.path)
    out = part.forward({name: held[name] for name in part.inputs})

    assert (file.data is None) == (external is False)
    assert np.array_equal(
        out["i"], captured.part(stage, stage + 1).forward({n: held[n] for n in part.inputs})["i"]
    )
    assert prove(captured, [stage, stage + 1], values).equal


def test_a_weight_outside_that_is_missing_in_a_body_is_refused(tmp_path: Path) -> None:
    """When it is needed at the latest."""
    path = tmp_path / "body.onnx"
    onnx.save_model(
        with_inner_weight("body"), path, save_as_external_data=True, location="body.data", size_threshold=1024
    )
    captured = capture_onnx(path)
    (tmp_path / "body.data").unlink()

    with pytest.raises(CannotCapture, match=r"not beside body\.onnx"):
        write_parts(captured, [(0, len(captured.chain))], tmp_path / "parts")
