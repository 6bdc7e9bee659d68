"""The files of a divided model: what is linked, what is copied, and how little is held meanwhile."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine import onnx_copy
from partita.engine.base import largest_difference
from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_divide_file import Scratch
from partita.engine.onnx_model import OnnxModel
from partita.errors import BadReference
from partita.testing.onnx_models import filled

# A body that captures, with a weight of its own; a product by columns of rows, and one by rows.
TEXT = """<ir_version: 9, opset_import: ["" : 18]>
    g (float[batch, 64] x, bool flag) => (float[batch, 80] y) <float[64, 96] w, float[80, 96] v, float[80] c> {
        a = MatMul (x, w)
        b = Gemm <transB = 1> (a, v, c)
        y = If (flag) <
            then_branch = yes () => (float[batch, 80] o) <float[1, 80] inner> { o = Add (b, inner) },
            else_branch = no () => (float[batch, 80] o) { o = Identity (b) }
        >
    }"""
ORIGINAL, TURNED = "MatMul_0", "Gemm_1"


def written(folder: Path, *, outside: bool) -> Path:
    """The model as a file, with its data beside it or inside, each weight in a file of its own."""
    text = TEXT.replace("<float[1, 80] inner> ", "")
    model = onnx.parser.parse_model(text)
    body = model.graph.node[2].attribute[0].g
    body.initializer.append(onnx.numpy_helper.from_array(np.full((1, 80), 0.5, np.float32), "inner"))
    path = folder / "m.onnx"
    onnx.save_model(
        filled(model), path, save_as_external_data=outside, all_tensors_to_one_file=False, size_threshold=0
    )
    return path


def equal(model: OnnxModel, other: OnnxModel) -> bool:
    """Whether both give the same bits, on both ways through."""
    values = model.example(3)
    return all(
        largest_difference(other.whole(v), model.whole(v)) == 0.0
        for flag in (True, False)
        for v in [{**values, "flag": np.array(flag)}]
    )


def named(path: Path) -> dict[str, dict[str, Any]]:
    """Where the external weights of a file lie."""
    graph = onnx.load(path, load_external_data=False).graph
    return {t.name: {e.key: e.value for e in t.external_data} for t in graph.initializer if t.external_data}


@pytest.mark.parametrize("outside", [False, True], ids=["inline", "outside"])
def test_rows_are_named_anew_and_columns_are_copied(outside: bool, tmp_path: Path) -> None:
    """Of all weights only the columns of rows go to a new data file, at offsets that can be mapped."""
    model = capture_onnx(written(tmp_path, outside=outside))
    other = model.divided({ORIGINAL: 3, TURNED: 2})
    data = other.path.with_suffix(".data")
    places = {name: place for name, place in named(other.path).items() if place["location"] == data.name}

    assert equal(model, other)
    assert list(places) == ["w.0-32", "w.32-64", "w.64-96"]
    assert all(int(place["offset"]) % 4096 == 0 for place in places.values())
    assert data.stat().st_size == 3 * 8192


def test_data_beside_a_model_is_copied_where_it_is_still_needed(tmp_path: Path) -> None:
    """Never linked: ONNX would refuse the original too. What nobody reads is left behind."""
    model = capture_onnx(written(tmp_path, outside=True))
    other = model.divided({ORIGINAL: 3, TURNED: 2})
    held = {path.name: path for path in other.path.parent.iterdir()}

    assert "v" in held
    assert "w" not in held
    assert all(path.stat().st_nlink == 1 for path in held.values())
    assert onnx.load(model.path).graph.initializer


def test_a_model_in_our_own_folder_is_divided_there(tmp_path: Path) -> None:
    """Beside the data of the optimised one, which stays while something needs it; its own files go with it."""
    model = capture_onnx(written(tmp_path, outside=True), optimize="basic")
    folder = model.path.parent
    names = [stage.name for stage in model.chain.stages if model.division(stage.name)]
    other = model.divided(dict.fromkeys(names, 2))
    twice = other.divided({f"{names[0]}.0": 2})

    assert len(names) == 2
    assert other.path.parent == twice.path.parent == folder
    assert equal(model, other)
    del model, other
    assert equal(capture_onnx(tmp_path / "m.onnx", optimize="basic"), twice)
    twice_path = twice.path
    del twice
    assert not twice_path.exists()
    assert not folder.exists()


def test_files_beside_go_with_their_model(tmp_path: Path) -> None:
    """The optimised model lives on without them."""
    model = capture_onnx(written(tmp_path, outside=True), optimize="basic")
    before = set(model.path.parent.iterdir())
    (name, *_) = (stage.name for stage in model.chain.stages if model.division(stage.name))
    other = model.divided({name: 2})

    assert set(model.path.parent.iterdir()) > before
    del other
    assert set(model.path.parent.iterdir()) == before


def test_a_name_that_is_taken_is_not_taken_again(tmp_path: Path) -> None:
    """Neither of a weight nor of a node."""
    path = written(tmp_path, outside=True)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.node.append(onnx.helper.make_node("Identity", ["y"], ["w.0-32"], "MatMul_0.0"))
    path.write_bytes(proto.SerializeToString())
    model = capture_onnx(path)
    other = model.divided({ORIGINAL: 3})

    assert equal(model, other)
    assert {"w.0-32_", "w.32-64"} <= set(other.chain.params)


def test_no_weight_is_held_whole(tmp_path: Path) -> None:
    """48 MB of columns go through a few megabytes."""
    size = 48 << 20
    with (tmp_path / "w").open("wb") as data:
        data.truncate(size)
    text = """<ir_version: 9, opset_import: ["" : 18]>
        g (float[batch, 3072] x) => (float[batch, 4096] y) { y = MatMul (x, w) }"""
    model = onnx.parser.parse_model(text)
    weight = model.graph.initializer.add(name="w", data_type=1, dims=[3072, 4096], data_location=1)
    weight.external_data.add(key="location", value="w")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    captured = capture_onnx(path)
    tracemalloc.start()
    other = captured.divided({ORIGINAL: 4})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert other.path.with_suffix(".data").stat().st_size == size
    assert peak < size // 4


def test_a_file_that_changed_is_not_divided(tmp_path: Path) -> None:
    """Its ranges mean nothing any more."""
    path = written(tmp_path, outside=False)
    model = capture_onnx(path)
    path.write_bytes(path.read_bytes() + b"\0")

    with pytest.raises(BadReference, match="removed or written to"):
        model.divided({ORIGINAL: 2})


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder goes with the error."""
    model = capture_onnx(written(tmp_path, outside=False))
    seen: list[Path] = []

    def full(*_: object) -> None:
        seen.extend(path for path in Path(scratch).glob("partita-*"))
        raise OSError(28, "No space left on device")

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr(onnx_copy, "_put", full)
    with pytest.raises(BadReference, match="No space left"):
        model.divided({ORIGINAL: 2})

    assert seen
    assert list(scratch.iterdir()) == []


def test_a_scratch_folder_goes_with_its_holder() -> None:
    """As soon as nothing refers to it."""
    scratch = Scratch()
    path = scratch.path
    assert path.is_dir()
    del scratch
    assert not path.exists()
