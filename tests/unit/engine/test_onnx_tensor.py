"""Tensors by byte range, and the ways in which a file can lie about where its weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from partita.engine.onnx_tensor import DTYPES, Tensor, head, inline, nbytes, outside, read_tensor
from partita.engine.onnx_wire import Span
from partita.errors import CannotCapture


def tensor_bytes(**fields: object) -> bytes:
    """A TensorProto as it is written."""
    return bytes(onnx.TensorProto(**fields).SerializeToString())


def external(**entries: str) -> Tensor:
    """A tensor of four floats that says it lies elsewhere."""
    return Tensor(Span(0, 0), "w", 1, (4,), None, entries)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's path with a data file of 64 bytes beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.data").write_bytes(bytes(64))
    (tmp_path / "secret").write_bytes(bytes(64))
    return folder / "model.onnx"


def test_the_head_of_a_tensor_is_read_without_its_values() -> None:
    """Name, type, dimensions and where the raw bytes lie."""
    raw = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "w").SerializeToString()
    tensor = read_tensor(raw, 0, len(raw))

    assert (tensor.name, tensor.data_type, tensor.dims, tensor.nbytes) == ("w", 1, (2, 3), 24)
    assert raw[tensor.payload.start : tensor.payload.stop] == np.ones(6, np.float32).tobytes()


@pytest.mark.parametrize(("kind", "field", "dtype"), [(1, "float_data", "<f4"), (11, "double_data", "<f8")])
def test_packed_floats_count_as_raw_bytes(kind: int, field: str, dtype: str) -> None:
    """They are the same bytes under another field number."""
    raw = tensor_bytes(name="w", data_type=kind, dims=[3], **{field: [1.0, 2.0, 3.0]})
    payload = read_tensor(raw, 0, len(raw)).payload

    assert np.frombuffer(raw[payload.start : payload.stop], dtype).tolist() == [1.0, 2.0, 3.0]


def test_integers_in_their_own_field_have_no_raw_bytes() -> None:
    """Varints are another encoding: such a tensor stays where it is."""
    raw = tensor_bytes(name="w", data_type=7, dims=[2], int64_data=[1, 300])

    assert read_tensor(raw, 0, len(raw)).payload is None


def test_a_head_and_a_payload_make_the_tensor_again() -> None:
    """What elision takes out, `inline` puts back."""
    array = np.arange(5, dtype=np.int64)
    raw = onnx.numpy_helper.from_array(array, "w").SerializeToString()
    pieces = [*head(raw, read_tensor(raw, 0, len(raw))), *inline(array.tobytes())]
    joined = b"".join(p if isinstance(p, bytes) else raw[p.start : p.stop] for p in pieces)

    assert np.array_equal(onnx.numpy_helper.to_array(onnx.TensorProto.FromString(joined)), array)


def test_sizes_at_rest_are_those_of_the_format() -> None:
    """Two four-bit integers share a byte; strings have no size."""
    assert nbytes(22, (3,)) == 2
    assert nbytes(16, (3,)) == 6
    assert nbytes(8, (3,)) == 0


@pytest.mark.parametrize("code", DTYPES)
def test_every_type_has_the_number_that_onnx_gives_it(code: int) -> None:
    """Our table is the format's, name by name."""
    ours = {"FLOAT32": "FLOAT", "FLOAT64": "DOUBLE"}
    name = DTYPES[code].upper().replace("FLOAT8_", "FLOAT8")

    assert onnx.TensorProto.DataType.Name(code) == ours.get(name, name)


def test_an_honest_external_tensor_is_found(model: Path) -> None:
    """Offset and length count from the start of the data file."""
    span = outside(external(location="w.data", offset="16", length="16"), model)

    assert span == Span(16, 32, model.parent.resolve() / "w.data")


@pytest.mark.parametrize(
    "location",
    [
        "../secret",
        "/etc/passwd",
        "a/../../secret",
        "..\\secret",
        "C:\\secret",
        "",
        ".",
        "\\\\host\\share",
        "w\0.data",
    ],
)
def test_data_outside_the_folder_is_refused(location: str, model: Path) -> None:
    """No parent, no root, no drive, no folder: a model reads what lies beside it."""
    with pytest.raises(CannotCapture, match="not a file inside the model's folder"):
        outside(external(location=location), model)


def test_a_link_out_of_the_folder_is_refused(model: Path) -> None:
    """What counts is where a link leads."""
    (model.parent / "link.data").symlink_to(model.parent.parent / "secret")

    with pytest.raises(CannotCapture, match="not a file inside"):
        outside(external(location="link.data"), model)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"location": "gone.data"}, "not beside model.onnx"),
        ({"location": "w.data", "offset": "56"}, "ends? at byte 72"),
        ({"location": "w.data", "offset": "-8"}, "byte 8"),
        ({"location": "w.data", "length": "12"}, "12 bytes"),
        ({"location": "w.data", "offset": "x"}, "no numbers"),
    ],
)
def test_data_that_is_not_there_is_refused(entries: dict[str, str], said: str, model: Path) -> None:
    """Missing, short, negative, of another length, or no number at all: each in its own words."""
    with pytest.raises(CannotCapture, match=said):
        outside(external(**entries), model)
