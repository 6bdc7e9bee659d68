"""Slices in one process give what the whole gives, for every construct that crosses a cut."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from partita.engine import Values, largest_difference
from partita.engine.onnx_run import OnnxPart
from partita.engine.onnx_values import numpy_dtype
from partita.errors import BadDocument, CorruptArtifact, NotFound, PartFailed, SessionMisused
from partita.graph import DType
from partita.slice import Preparation, write_manifest
from partita.slice.inputs import made_inputs
from partita.slice.runner import Slices, open_slices
from partita.slice.slicer import cut, plan_at, prepare
from partita.testing.onnx_models import onnx_model

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
BATCH = 3


def sliced(model: Any, folder: Path, *, exactness: Any = "exact", prepack: bool = True) -> Path:
    """Cut at every position that is legal."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    ready = prepare(path, Preparation())
    cuts = tuple(c.position for c in ready.chain.cuts if c.legal and 0 < c.position < len(ready.chain))
    cut(
        ready,
        plan_at(ready.chain, cuts, batch=BATCH),
        folder / "slices",
        exactness=exactness,
        prepack=prepack,
    )
    return folder / "slices"


def text(body: str) -> Any:
    return onnx.parser.parse_model(HEAD + body)


def whole(folder: Path, values: Mapping[str, Any]) -> Values:
    return OnnxPart.load(folder / "model.onnx").forward(values)


def given(slices: Slices) -> Values:
    values = made_inputs(slices.manifest, seed=1)
    return values | ({"n": np.array(3)} if "n" in values else {})


@pytest.mark.parametrize(
    "name",
    [
        "split", "integers", "two_inputs", "late_input", "early_output", "tied", "branch", "loop", "scan",
        "sequence", "optional_input", "passing", "unordered", "found", "functions", "old", "annotated", "sparse",
    ],
)  # fmt: skip
def test_slices_equal_the_whole(name: str, tmp_path: Path) -> None:
    """Several outputs, integers, late inputs, early and passing outputs, captures of If: bit for bit."""
    with open_slices(sliced(onnx_model(name), tmp_path)) as slices:
        values = given(slices)
        found = slices.run(values).outputs

        assert len(slices) > 1
        assert list(found) == list(slices.manifest.outputs)
        assert largest_difference(found, whole(tmp_path, values)) == 0.0


# What ONNX Runtime can reshape on the CPU: all but complex numbers, and four-bit integers, which it can only quantize.
CROSSING = [d for d in DType if d.travels and "complex" not in d and d not in (DType.INT4, DType.UINT4)]


@pytest.mark.parametrize("dtype", CROSSING)
def test_every_type_crosses_from_slice_to_slice(dtype: DType, tmp_path: Path) -> None:
    code = dtype.value.replace("float8_", "float8").replace("float32", "float").replace("float64", "double")
    model = text(
        f"crossing ({code}[2, 3] x) => ({code}[6] y) <int64[1] to> "
        "{ to = Constant <value = int64[1] {6}> () a = Reshape(x, to) y = Identity(a) }"
    )
    value = (np.arange(6) % 2).astype(numpy_dtype(dtype)).reshape(2, 3)
    with open_slices(sliced(model, tmp_path)) as slices:
        found = slices.run({"x": value}).outputs["y"]

        assert len(slices) >= 2
        assert found.dtype == value.dtype
        assert found.tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", ["int4", "uint4"])
def test_four_bit_integers_cross_from_slice_to_slice(dtype: str, tmp_path: Path) -> None:
    model = text(
        f"narrow (float[2, 3] x) => (float[2, 3] y) {{ s = Constant <value = float {{0.5}}> () "
        f"z = Constant <value = {dtype} {{0}}> () q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }}"
    )
    value = np.array([[0.4, 1.6, 9.0], [2.0, 3.0, 0.0]], np.float32)
    with open_slices(sliced(model, tmp_path)) as slices:
        crossing = {
            slices.manifest.tensors[name].dtype for file in slices.manifest.files for name in file.inputs
        }

        assert dtype in crossing
        assert largest_difference(slices.run({"x": value}).outputs, whole(tmp_path, {"x": value})) == 0.0


def test_texts_enter_the_first_slice(tmp_path: Path) -> None:
    model = text(
        "texts (string[n] x, float[n] v) => (float[n] y) { e = Equal(x, x) f = Cast <to = 1> (e) y = Add(f, v) }"
    )
    with open_slices(sliced(model, tmp_path)) as slices:
        found = slices.run({"x": np.array(["a", "bü"], object), "v": np.ones(2, np.float32)}).outputs["y"]

        assert found.tolist() == [2.0, 2.0]


def test_empty_tensors_cross(tmp_path: Path) -> None:
    with open_slices(sliced(onnx_model("skip"), tmp_path)) as slices:
        outcome = slices.run({"x": np.zeros((0, 8), np.float32)})

        assert outcome.outputs["y"].shape == (0, 8)
        assert set(outcome.bytes_in) == {0}


@pytest.mark.parametrize("prepack", [True, False])
def test_both_ways_of_loading_weights_give_the_numbers(prepack: bool, tmp_path: Path) -> None:
    with open_slices(sliced(onnx_model("skip"), tmp_path, prepack=prepack)) as slices:
        values = given(slices)

        assert largest_difference(slices.run(values).outputs, whole(tmp_path, values)) < 1e-5


def test_fast_slices_run_too(tmp_path: Path) -> None:
    with open_slices(sliced(onnx_model("skip"), tmp_path), exactness="fast") as slices:
        values = given(slices)

        assert largest_difference(slices.run(values).outputs, whole(tmp_path, values)) < 1e-5


def test_an_outcome_says_what_every_slice_took(tmp_path: Path) -> None:
    with open_slices(sliced(onnx_model("early_output"), tmp_path)) as slices:
        outcome = slices.run(given(slices), run_id="mine")

        assert outcome.run == "mine"
        assert outcome.bytes_in[:3] == (96, 96, 96)
        assert outcome.bytes_out == (96, 96, 96, 96)
        assert all(seconds > 0 for seconds in outcome.seconds)


def test_sixteen_runs_at_once_are_all_right(tmp_path: Path) -> None:
    folder = sliced(onnx_model("two_inputs"), tmp_path)
    with open_slices(folder) as slices, ThreadPoolExecutor(16) as pool:
        inputs = [made_inputs(slices.manifest, seed) for seed in range(64)]
        found = list(pool.map(slices.run, inputs))

        assert len({outcome.run for outcome in found}) == 64
        for values, outcome in zip(inputs, found, strict=True):
            assert largest_difference(outcome.outputs, whole(tmp_path, values)) == 0.0


def test_wrong_inputs_are_named_all_at_once(tmp_path: Path) -> None:
    with (
        open_slices(sliced(onnx_model("two_inputs"), tmp_path)) as slices,
        pytest.raises(BadDocument) as caught,
    ):
        slices.run({"ids": np.zeros((2, 3), np.int32), "more": np.zeros(1)})

    assert caught.value.problems == (
        "'mask' is missing",
        "'more' is not an input",
        "'ids' must be int64, not int32",
    )


def test_a_run_after_close_is_refused(tmp_path: Path) -> None:
    slices = open_slices(sliced(onnx_model("skip"), tmp_path))
    slices.load()
    slices.close()
    with pytest.raises(SessionMisused):
        slices.run(given(slices))


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    folder = sliced(onnx_model("skip"), tmp_path)
    (folder / open_slices(folder).manifest.files[1].path).unlink()
    with pytest.raises(NotFound, match="slice 1"):
        open_slices(folder)


def test_an_altered_slice_is_named(tmp_path: Path) -> None:
    folder = sliced(onnx_model("skip"), tmp_path)
    path = folder / open_slices(folder).manifest.files[1].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptArtifact, match="slice 1"):
        open_slices(folder)


def test_another_version_of_the_runtime_is_remarked(tmp_path: Path) -> None:
    folder = sliced(onnx_model("skip"), tmp_path)
    write_manifest(replace(open_slices(folder).manifest, runtime="0.9"), folder)
    with open_slices(folder) as slices:
        (note,) = slices.run(given(slices)).notes

    assert note.startswith(f"prepared with onnxruntime 0.9, run with {ort.__version__}")


def test_a_slice_that_cannot_be_loaded_is_to_be_cut_again(tmp_path: Path) -> None:
    folder = sliced(onnx_model("skip"), tmp_path)
    manifest = replace(open_slices(folder).manifest, runtime="0.9")
    (folder / manifest.files[0].path).write_bytes(b"no model")
    with pytest.raises(PartFailed, match=r"slice 0: .*0\.9") as caught:
        Slices(folder, manifest).load()

    assert "cut again with this version" in caught.value.fix
