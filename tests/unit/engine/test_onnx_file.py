"""What is kept of a file, and files that are none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.engine import onnx_file
from partita.engine.onnx_file import opened, read_file
from partita.engine.onnx_wire import Malformed
from partita.errors import BadReference, CannotCapture, MissingExtra, PartitaError
from partita.testing.onnx_models import onnx_model, write_onnx


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model with one weight of 64 KB, and one of 4 bytes."""
    weights = {"w": np.ones((128, 128), np.float32), "b": np.ones(1, np.float32)}
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [onnx.helper.make_tensor_value_info("x", 1, ["batch", 128])],
        [onnx.helper.make_tensor_value_info("y", 1, ["batch", 128])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "large.onnx"
    path.write_bytes(onnx.helper.make_model(graph, ir_version=9).SerializeToString())
    return path


def test_the_skeleton_has_no_large_weights(large: Path) -> None:
    """Name, type and shape stay; the values stay in the file; small ones are kept for shape inference."""
    file = read_file(large)
    w, b = file.proto.graph.initializer

    assert (w.name, list(w.dims), w.raw_data) == ("w", [128, 128], b"")
    assert len(b.raw_data) == 4
    assert file.proto.ByteSize() < 1000


def test_spans_are_where_the_records_lie(large: Path) -> None:
    """Every node and weight can be parsed from its own range."""
    file, raw = read_file(large), large.read_bytes()
    (node,), weight = file.nodes, file.initializers[0]

    assert onnx.NodeProto.FromString(raw[node.start : node.stop]).op_type == "MatMul"
    assert onnx.TensorProto.FromString(raw[weight.span.start : weight.span.stop]).name == "w"


def test_a_graph_written_in_two_pieces_is_one_graph(tmp_path: Path) -> None:
    """Protocol Buffers merge repeated messages; so does the walk."""
    whole = onnx_model("skip")
    first, second = onnx.ModelProto(ir_version=9), onnx.ModelProto()
    first.opset_import.extend(whole.opset_import)
    first.graph.node.extend(whole.graph.node[:3])
    second.graph.CopyFrom(whole.graph)
    del second.graph.node[:3]
    path = tmp_path / "pieces.onnx"
    path.write_bytes(first.SerializeToString() + second.SerializeToString())
    file = read_file(path)

    assert len(file.nodes) == len(file.proto.graph.node) == len(whole.graph.node)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "no IR version"),
        (b"\x89PNG\r\n\x1a\n" + bytes(32), "not an ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x08\x09", "no graph"),
        (b"\x08\x09\x3a\x7f", "cut short"),
    ],
)
def test_what_is_no_onnx_file_is_refused(raw: bytes, said: str, tmp_path: Path) -> None:
    """Empty, another format, a pointer, a header alone, a torn one."""
    path = tmp_path / "model.onnx"
    path.write_bytes(raw)

    with pytest.raises(CannotCapture, match=said):
        read_file(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_cut_short_or_damaged_anywhere_ends_in_our_own_error(
    data: st.DataObject, tmp_path: Path
) -> None:
    """No byte, wherever it is lost or changed, gets past as anything but a model or a refusal."""
    raw = bytearray(onnx_model("branch").SerializeToString())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw = raw[:at]
    else:
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(raw)
    try:
        read_file(path)
    except PartitaError as error:
        assert isinstance(error, CannotCapture)


def test_a_weight_that_is_not_all_there_is_refused(large: Path) -> None:
    """Type and shape say how many bytes it has."""
    model = onnx.load(large)
    model.graph.initializer[0].dims[0] = 1 << 40
    large.write_bytes(model.SerializeToString())

    with pytest.raises(CannotCapture, match="'w' has 65536 bytes, but its type and shape ask for"):
        read_file(large)


def test_a_weight_outside_is_looked_for_at_once(large: Path) -> None:
    """Not when the parts are written, long after."""
    onnx.save_model(
        onnx.load(large), large, save_as_external_data=True, location="large.data", size_threshold=1024
    )
    assert read_file(large).initializers[0].external["location"] == "large.data"
    (large.parent / "large.data").unlink()

    with pytest.raises(CannotCapture, match=r"'w' lie in 'large\.data', which is not beside large\.onnx"):
        read_file(large)


@given(raw=st.binary(max_size=400), data=st.data())
def test_a_file_reads_like_its_bytes(
    raw: bytes, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Slices and searches, whatever the window holds at the moment."""
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch, opened(path) as buffer:
        patch.setattr(onnx_file, "_WINDOW", 16)
        for _ in range(5):
            start, stop = sorted(data.draw(st.tuples(st.integers(0, len(raw)), st.integers(0, len(raw)))))
            wanted = data.draw(st.binary(min_size=1, max_size=3))
            assert buffer[start:stop] == raw[start:stop]
            assert buffer.find(wanted, start, stop) == raw.find(wanted, start, stop)
    assert len(buffer) == len(raw)


def test_a_file_cut_short_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """The process lives: a memory map would have ended it."""
    path = tmp_path / "shrinking"
    path.write_bytes(bytes(1 << 16))
    with opened(path) as buffer, path.open("r+b") as file:
        file.truncate(1 << 15)
        with pytest.raises(Malformed, match="too early"):
            buffer[: 1 << 16]


@pytest.mark.parametrize("name", ["", "nothing.onnx"])
def test_a_path_that_is_no_file_is_a_bad_reference(name: str, tmp_path: Path) -> None:
    """A folder and a missing file are told apart."""
    with pytest.raises(BadReference, match="is no file" if name else "is a folder"):
        read_file(tmp_path / name)


def test_a_file_that_changed_is_not_read_by_its_old_ranges(tmp_path: Path) -> None:
    """Ranges belong to the bytes they were found in."""
    path = write_onnx("skip", tmp_path)
    file = read_file(path)
    file.check_unchanged()
    path.write_bytes(onnx_model("split").SerializeToString())

    with pytest.raises(BadReference, match="written to after it was captured"):
        file.check_unchanged()


def test_without_the_onnx_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting needs onnx; running parts does not."""
    path = write_onnx("skip", tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(MissingExtra, match="cutting an ONNX model needs onnx"):
        read_file(path)
