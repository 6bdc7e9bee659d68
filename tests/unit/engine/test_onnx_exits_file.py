"""Parts of one model that share the files of their weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_exits import ExitGraph, exit_graph
from partita.engine.onnx_exits_file import write_shared
from partita.engine.onnx_exits_part import OneFile, ran
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.testing.onnx_models import filled

TEXT = """<ir_version: 9, opset_import: ["" : 18]>
    tied (float[batch, 64] x) => (float[batch, 3] a, float[batch, 3] b)
    <float[64, 64] w, float[64, 64] v, float[64, 3] g, float[64, 3] h> {
        one = MatMul(x, w)
        a = MatMul(one, g)
        two = MatMul(one, v)
        again = MatMul(two, w)
        b = MatMul(again, h)
    }"""
SIZE = 64 * 64 * 4


@pytest.fixture(params=["inside", "outside"])
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> ExitGraph:
    """Two exits; a weight that both stages use. Its weights lie in the file, or beside it."""
    model = filled(onnx.parser.parse_model(TEXT))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=request.param == "outside", size_threshold=0)
    return exit_graph(capture_onnx(tmp_path / "m.onnx"))


def written(graph: ExitGraph, folder: Path) -> Path:
    folder.mkdir()
    write_shared(
        {
            "stage-0": (graph.span(0, 0), "0.data"),
            "stage-1": (graph.span(1, 1), "1.data"),
            "span": (graph.span(0, 1), "1.data"),
        },
        folder,
    )
    return folder


def test_a_weight_of_two_stages_lies_in_the_file_of_the_first(graph: ExitGraph, tmp_path: Path) -> None:
    """Large ones; the small ones stay in their ONNX file."""
    folder = written(graph, tmp_path / "out")

    for name in ("0.data", "1.data"):
        assert SIZE <= (folder / name).stat().st_size < SIZE + 4096


def test_files_give_what_the_whole_gives(graph: ExitGraph, tmp_path: Path) -> None:
    """Bit for bit, with the weights of both data files."""
    folder = written(graph, tmp_path / "out")
    x = {"x": np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)}
    span = OnnxPart.load(folder / "span.onnx").forward(x)

    assert span["b"].tobytes() == graph.model.whole(x)["b"].tobytes()


def test_every_file_is_told_with_its_digest_and_its_data(graph: ExitGraph, tmp_path: Path) -> None:
    """As they lie on disk."""
    (tmp_path / "out").mkdir()
    files = write_shared({"stage-0": (graph.span(0, 0), "0.data")}, tmp_path / "out")

    assert [(file.name, file.data) for file in files] == [("stage-0.onnx", ("0.data",)), ("0.data", ())]
    for file in files:
        content = (tmp_path / "out" / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_part_runs_from_its_source(graph: ExitGraph) -> None:
    """Nothing of it stays on disk."""
    x = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    found = ran(graph.span(0, 0), {"x": x}, RunSettings())

    assert set(found) == {"a", "one"}


def test_one_file_is_run_as_it_is(graph: ExitGraph) -> None:
    """With all of its outputs."""
    x = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    found = OneFile(graph.model.path, RunSettings(threads=1)).run({"x": x})

    assert list(found) == ["a", "b"]
