"""What layers and slices of a project make."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from partita.slice.original import read_project
from partita.slice.original_payload import json_bytes, payload_per_layer, payload_per_slice
from partita.slice.original_verbs import decomposition

Write = Callable[..., Path]


def test_every_layer_is_named_with_what_it_makes(original: Write) -> None:
    """`skip` has six nodes; each makes 2 x 8 numbers of four bytes, two rows being the project's own input."""
    found = payload_per_layer(read_project(original()))

    assert {payload.tensors[0].name: payload.bytes for payload in found} == dict.fromkeys("arcdey", 64)
    assert {payload.tensors[0].shape for payload in found} == {(2, 8)}
    assert all(payload.json_bytes is None for payload in found)


def test_the_largest_comes_first(original: Write) -> None:
    """`split` makes four small tensors in one layer."""
    found = payload_per_layer(read_project(original("split", steps="")), dims={"batch": 3})

    assert [payload.bytes for payload in found] == sorted((p.bytes for p in found), reverse=True)
    (split,) = [payload for payload in found if len(payload.tensors) == 4]
    assert split.bytes == 4 * 3 * 2 * 4


def test_a_run_measures_the_originals_json_on_the_values_themselves(original: Write) -> None:
    """Each layer's own values, under its own name."""
    project = read_project(original())
    found = {p.tensors[0].name: p for p in payload_per_layer(project, run=True)}
    model = onnx.load(project.model)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in "arcde")
    session = ort.InferenceSession(model.SerializeToString())
    value = np.load(project.root / "models/demo/ready.npy").astype("float32")

    for name, expected in zip("arcde", session.run(list("arcde"), {"x": value}), strict=True):
        wanted = len(json.dumps(expected.tolist()))
        assert abs((found[name].json_bytes or 0) - wanted) <= 16 * 2  # the last digit of a number may differ
        assert found[name].bytes == 64


def test_sizes_that_only_data_tells_are_open_without_a_run(original: Write) -> None:
    """And exact with one."""
    config = original()
    project = read_project(config)
    text = """<ir_version: 9, opset_import: ["": 18]> g (float[2, 8] x) => (float[n, 2] y) {
        p = NonZero(x)
        f = Cast <to = 1> (p)
        y = Transpose(f)
    }"""
    project.model.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    without = {t.name: t.bytes for p in payload_per_layer(project) for t in p.tensors}
    with_run = {t.name: t.bytes for p in payload_per_layer(project, run=True) for t in p.tensors}

    assert without["p"] is None
    assert with_run == {"p": 2 * 16 * 8, "f": 2 * 16 * 4, "y": 16 * 2 * 4}


def test_every_slice_says_what_it_hands_on(original: Write) -> None:
    """In the order of the slices; with a run, in the original's encoding too."""
    project = read_project(original(slices=3))
    manifest = decomposition(project).manifest
    found = payload_per_slice(project, run=True)

    assert [tuple(t.name for t in p.tensors) for p in found] == [file.outputs for file in manifest.files]
    assert all(payload.bytes == 64 * len(payload.tensors) for payload in found)
    assert all((payload.json_bytes or 0) > payload.bytes for payload in found)
    assert [p.bytes for p in payload_per_slice(project)] == [p.bytes for p in found]


def test_json_of_a_tensor_is_nested_lists() -> None:
    """`[[1.0, 2.0]]` has twelve characters."""
    assert json_bytes(np.array([[1, 2]], np.float32)) == 12
