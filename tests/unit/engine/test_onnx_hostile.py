"""Hostile and broken input to capture and cut: a clear refusal each time, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.errors import BadReference, CannotCapture, PartitaError
from partita.testing.onnx_models import onnx_model

HEAD = '<ir_version: 9, opset_import: ["" : 18, "acme" : 1]>'
FIFTHS = range(0, 100, 5)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a model; afterwards neither it nor the system's temporary folder holds anything new."""
    temporary, folder = tmp_path / "tmp", tmp_path / "model"
    temporary.mkdir()
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield folder
    assert list(temporary.iterdir()) == []
    assert not (folder / "parts").exists()
    assert not [path for path in folder.rglob("*") if path.name.startswith(".partita-")]


def deep(folder: Path, *, outside: bool) -> Path:
    """Two products with 40 KB of weights each, inside or outside."""
    generator = np.random.default_rng(0)
    text = "g (float[batch, 100] x) => (float[batch, 100] y) { a = MatMul(x, v) y = MatMul(a, w) }"
    model = onnx.parser.parse_model(HEAD + text)
    for name in ("v", "w"):
        array = generator.standard_normal((100, 100)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    path = folder / "deep.onnx"
    onnx.save_model(model, path, save_as_external_data=outside, location="deep.data", size_threshold=0)
    return path


def redirected(folder: Path, **entries: str) -> Path:
    """The same model, with its first weight somewhere else."""
    path = deep(folder, outside=True)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())
    return path


def cut(path: Path) -> None:
    """All that touches the file: both ways to capture it, and its parts."""
    refusals = []
    for probe in (True, False):
        try:
            model = capture_onnx(path, probe=probe)
            write_parts(model, [(0, 1), (1, len(model.chain))], path.parent / "parts")
        except PartitaError as error:
            refusals.append(error)
    assert len(refusals) == 2
    assert str(refusals[0]) == str(refusals[1])
    raise refusals[0]


@pytest.mark.parametrize("percent", FIFTHS)
def test_a_truncated_model_is_refused(percent: int, place: Path) -> None:
    """Wherever it ends."""
    path = deep(place, outside=False)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * percent // 100])

    with pytest.raises(CannotCapture, match="not an ONNX file, or was cut short"):
        cut(path)


@pytest.mark.parametrize("percent", FIFTHS)
def test_truncated_data_beside_a_model_is_refused(percent: int, place: Path) -> None:
    """With the weight that ends outside of it."""
    path = deep(place, outside=True)
    data = place / "deep.data"
    os.truncate(data, data.stat().st_size * percent // 100)

    with pytest.raises(
        CannotCapture, match=r"the values of '[vw]' end at byte \d+ of 'deep\.data', which has"
    ):
        cut(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link", "sub/../../secret", ".", "sub"])
def test_data_elsewhere_is_refused(location: str, place: Path) -> None:
    """A parent, a root, a link that leaves the folder, a folder: the file is not read, whatever it holds."""
    (place.parent / "secret").write_bytes(bytes(100_000))
    (place / "link").symlink_to(place.parent / "secret")
    (place / "sub").mkdir()

    with pytest.raises(CannotCapture, match=r"not a file inside the model's folder|not beside deep\.onnx"):
        cut(redirected(place, location=location))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"offset": "80000"}, "byte 120000 of 'deep.data', which has 8"),
        ({"offset": "-1"}, "the values of 'v' end at byte 39999"),
        ({"offset": str(1 << 63)}, "end at byte 9223372036854815808"),
        ({"length": "40001"}, "have 40001 bytes in 'deep.data', but its type and shape ask for 40000"),
        ({"length": str(1 << 64)}, "have 18446744073709551616 bytes"),
        ({"length": "-40000"}, "have -40000 bytes"),
        ({"length": "all"}, "which are no numbers"),
        ({"offset": "9" * 5000}, "which are no numbers"),
    ],
)
def test_ranges_that_are_none_are_refused(entries: dict[str, str], said: str, place: Path) -> None:
    """Beyond the file, before it, of another length, larger than any number that a computer counts with."""
    with pytest.raises(CannotCapture, match=said):
        cut(redirected(place, **entries))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "no IR version"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64), "not an ONNX file"),
        (json.dumps({"nodes": [1, 2]}).encode(), "not an ONNX file"),
        (b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94\x8c\x01w\x94K\x01s.", "not an ONNX file"),
        (b"PK\3\4" + bytes(60), "not an ONNX file"),
        (bytes(1000), "not an ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 102496823\n", "git lfs pull"),
    ],
)
def test_other_files_are_refused(raw: bytes, said: str, place: Path) -> None:
    """Nothing, a picture, a document, a pickle, an archive, zeros, a pointer."""
    (place / "model.onnx").write_bytes(raw)

    with pytest.raises(CannotCapture, match=said):
        cut(place / "model.onnx")


def test_a_folder_is_refused(place: Path) -> None:
    """It was the file in it that was meant."""
    with pytest.raises(BadReference, match="is a folder"):
        cut(place)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("g (float[2] x) => (float[2] x) {}", "none of its 0 nodes leads to an output"),
        ("g (float[2] x) => () { a = Neg(x) }", "none of its 1 nodes leads to an output"),
        ("g (float[2] x) => (float[2] y) { a = Add(x, b) b = Neg(a) y = Neg(b) }", "cycle through 'Add_0', 'Neg_1'"),
        ("g (float[2] x) => (float[2] y) { a = Neg(x) a = Neg(x) y = Neg(a) }", "'a' is made twice"),
        ("g (float[2] x) => (float[2] y) { y = Add(x, z) }", "reads 'z', which nothing makes"),
        ("g (float[2] x) => (float[2] y) { a = acme.Magic(x) y = Neg(a) }", "the operator acme:Magic"),
        ("g (float[2] x) => (float[2] y) { a = Magic(x) y = Neg(a) }", "No Op registered for Magic"),
    ],
)  # fmt: skip
def test_graphs_that_are_none_are_refused(text: str, said: str, place: Path) -> None:
    """Without nodes, without outputs, with a cycle, a name twice or never made, an unknown operator."""
    path = place / "model.onnx"
    path.write_bytes(onnx.parser.parse_model(HEAD + text).SerializeToString())

    with pytest.raises(CannotCapture, match=said):
        cut(path)


def shaped(*dims: int) -> Callable[[Any], None]:
    """Give a weight another shape than its bytes have."""

    def change(tensor: Any) -> None:
        tensor.dims[:] = dims

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shaped(-8, 8), r"'w1' has a negative dimension in \[-8, 8\]"),
        (shaped(1 << 62, 1 << 62), "has 256 bytes, but its type and shape ask for 8507"),
        (shaped(8, 9), "has 256 bytes, but its type and shape ask for 288"),
        (lambda tensor: tensor.ClearField("raw_data"), "the weight 'w1' has no values"),
    ],
)
def test_weights_that_are_none_are_refused(change: Callable[[Any], None], said: str, place: Path) -> None:
    """A negative size, one that overflows, one too many, none of the values."""
    model = onnx_model("skip")
    change(model.graph.initializer[0])
    path = place / "model.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(CannotCapture, match=said):
        cut(path)


def test_a_negative_dimension_of_an_input_is_an_open_one(place: Path) -> None:
    """Exporters write -1 for what they do not know."""
    model = onnx_model("skip")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    path = place / "model.onnx"
    path.write_bytes(model.SerializeToString())

    assert capture_onnx(path).chain.tensors["x"].shape == ("x_d0", 8)


@pytest.mark.parametrize("call", ["pwrite", "copy_file_range"])
@pytest.mark.parametrize("outside", [False, True])
def test_a_disk_that_fills_up_leaves_nothing(
    call: str, outside: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third write finds no room; the kernel's own copy says it first, then the plain one."""
    model = capture_onnx(deep(place, outside=outside))
    write, left = os.pwrite, iter(range(2))

    def filling(*arguments: Any) -> int:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*arguments[-3:])

    def refusing(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", filling)
    monkeypatch.setattr(os, "copy_file_range", refusing if call == "copy_file_range" else os.copy_file_range)
    with pytest.raises(BadReference, match="No space left on device; nothing was left there") as error:
        write_parts(model, [(0, 1), (1, 2)], place / "parts")

    assert "make room" in error.value.fix


def test_a_folder_that_cannot_be_written_to_is_named(place: Path) -> None:
    """A file stands in its way: root may write anywhere else."""
    model = capture_onnx(deep(place, outside=False))

    with pytest.raises(BadReference, match=r"cannot write into .*deep\.onnx/parts: Not a directory"):
        write_parts(model, [(0, 2)], place / "deep.onnx" / "parts")


def test_a_model_that_is_replaced_while_it_is_cut_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the ranges would be of one file and half of the other."""
    path = deep(place, outside=False)
    model = capture_onnx(path)
    write = os.pwrite

    def writing(*arguments: Any) -> int:
        os.utime(path, (1, 1))
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", writing)
    with pytest.raises(BadReference, match="was removed or written to"):
        write_parts(model, [(0, 1), (1, 2)], place / "parts")
