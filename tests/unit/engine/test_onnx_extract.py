"""Part files: whole or absent, where they should be, with the weights they need and no others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from partita.engine import onnx_extract
from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_model import OnnxModel
from partita.engine.onnx_run import OnnxPart
from partita.errors import BadReference, CannotCapture, IllegalCut
from partita.testing.onnx_models import write_onnx

WIDTH = 160  # a weight of 100 KB: large enough to be copied by the kernel and to be put outside


def deep(folder: Path, layers: int = 4, *, outside: bool = False) -> Path:
    """A chain of products, each with a weight of its own; the last one shares that of the first."""
    generator = np.random.default_rng(0)
    lines, weights = [], []
    for layer in range(layers):
        lines.append(f"h{layer + 1} = MatMul(h{layer}, w{layer % (layers - 1)})")
        array = generator.standard_normal((WIDTH, WIDTH)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(array, f"w{layer}"))
    text = f"""<ir_version: 9, opset_import: ["" : 18]>
        deep (float[batch, {WIDTH}] h0) => (float[batch, {WIDTH}] h{layers}) {{ {" ".join(lines)} }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(weights[:-1])
    path = folder / "deep.onnx"
    onnx.save_model(model, path, save_as_external_data=outside, location="deep.data", size_threshold=0)
    return path


def run(model: OnnxModel, files: tuple[onnx_extract.OnnxPartFile, ...]) -> bool:
    """Whether the files give together what the whole gives."""
    values = model.example(2)
    held = dict(values)
    for file in files:
        part = OnnxPart.load(file.path)
        held |= part.forward({name: held[name] for name in part.inputs})
    return all(np.array_equal(held[n], v) for n, v in model.whole(values).items())


def weights(path: Path) -> list[str]:
    """The names of the weights in a file."""
    return [tensor.name for tensor in onnx.load(path, load_external_data=False).graph.initializer]


def test_each_part_has_its_weights_and_shared_ones_are_in_both(tmp_path: Path) -> None:
    """Nothing of the rest of the model is in a part."""
    model = capture_onnx(deep(tmp_path))
    first, second = write_parts(model, [(0, 2), (2, 4)], tmp_path / "parts")

    assert weights(first.path) == ["w0", "w1"]
    assert weights(second.path) == ["w2", "w0"]
    assert run(model, (first, second))


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("external", [None, True, False])
def test_weights_go_where_they_are_asked_to_go(outside: bool, external: bool | None, tmp_path: Path) -> None:
    """Inline or outside, from either; the numbers are the same."""
    model = capture_onnx(deep(tmp_path, outside=outside))
    files = write_parts(model, [(0, 1), (1, 4)], tmp_path / "parts", external=external)

    assert all((file.data is not None) == (outside if external is None else external) for file in files)
    assert run(model, files)


def test_weights_outside_can_be_mapped(tmp_path: Path) -> None:
    """Every offset is a multiple of a page."""
    model = capture_onnx(deep(tmp_path))
    (file,) = write_parts(model, [(0, 4)], tmp_path / "parts", external=True)
    tensors = onnx.load(file.path, load_external_data=False).graph.initializer
    entries = [{entry.key: entry.value for entry in tensor.external_data} for tensor in tensors]

    assert [int(entry["offset"]) % 4096 for entry in entries] == [0, 0, 0]
    assert len({entry["offset"] for entry in entries}) == 3
    assert {entry["location"] for entry in entries} == {file.data.name if file.data else ""}


def test_digests_and_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    """What the report says can be checked with sha256sum."""
    model = capture_onnx(deep(tmp_path))
    (file,) = write_parts(model, [(1, 3)], tmp_path / "parts", external=True)
    assert file.data is not None

    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    assert hashlib.sha256(file.data.read_bytes()).hexdigest() == file.data_sha256
    assert file.data.name == f"part-00-{file.data_sha256[:16]}.data"
    assert file.bytes == file.path.stat().st_size + file.data.stat().st_size


def test_a_part_too_large_for_one_message_goes_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself where it may, with an error where it was told not to."""
    monkeypatch.setattr(onnx_extract, "_LARGEST_INLINE", 150_000)
    model = capture_onnx(deep(tmp_path))
    small, large = write_parts(model, [(0, 1), (1, 4)], tmp_path / "parts")

    assert small.data is None
    assert large.data is not None
    assert run(model, (small, large))
    with pytest.raises(CannotCapture, match="150000 are the limit"):
        write_parts(model, [(1, 4)], tmp_path / "inline", external=False)


def test_the_whole_call_fails_with_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last part does not fit, so the first is not there either; an older one is still the older one."""
    model = capture_onnx(deep(tmp_path))
    (old,) = write_parts(model, [(0, 4)], tmp_path / "parts")
    monkeypatch.setattr(onnx_extract, "_LARGEST_INLINE", 150_000)
    with pytest.raises(CannotCapture, match="150000 are the limit"):
        write_parts(model, [(0, 1), (1, 4)], tmp_path / "parts", external=False)

    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["part-00.onnx"]
    assert hashlib.sha256(old.path.read_bytes()).hexdigest() == old.sha256


def test_threads_give_the_same_files_in_the_order_of_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest part is written first, and listed where it belongs."""
    model = capture_onnx(deep(tmp_path))
    parts = [(0, 1), (1, 4), (2, 3)]
    many = write_parts(model, parts, tmp_path / "many")
    monkeypatch.setattr(onnx_extract, "_MOST_THREADS", 1)
    one = write_parts(model, parts, tmp_path / "one")

    assert [(f.start, f.stop) for f in many] == parts
    assert [(f.path.name, f.sha256, f.bytes) for f in many] == [(f.path.name, f.sha256, f.bytes) for f in one]


def test_weights_outside_that_changed_are_not_cut(tmp_path: Path) -> None:
    """A data file that was written to is another model's."""
    model = capture_onnx(deep(tmp_path, outside=True))
    with (tmp_path / "deep.data").open("ab") as file:
        file.write(b"more")

    with pytest.raises(BadReference, match=r"deep\.data was removed or written to"):
        write_parts(model, [(0, 4)], tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_writing_again_replaces_the_parts(tmp_path: Path) -> None:
    """The same model gives the same files; nothing else is in the folder."""
    model = capture_onnx(deep(tmp_path))
    first = write_parts(model, [(0, 4)], tmp_path / "parts", external=True)

    assert write_parts(model, [(0, 4)], tmp_path / "parts", external=True) == first
    assert len(list((tmp_path / "parts").iterdir())) == 2


def test_part_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    """Temporary files are private; the umask decides about the final ones."""
    model = capture_onnx(write_onnx("skip", tmp_path))
    (file,) = write_parts(model, [(0, 6)], tmp_path / "parts")
    (tmp_path / "plain").touch()

    assert file.path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_ends_that_are_no_cuts_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """A sequence cannot cross, and a stem is no path."""
    model = capture_onnx(write_onnx("sequence", tmp_path))

    with pytest.raises(IllegalCut):
        write_parts(model, [(0, 1), (1, 2)], tmp_path / "parts")
    with pytest.raises(BadReference, match="no plain file name"):
        write_parts(model, [(0, 1)], tmp_path / "parts", stem="../part")
    assert not (tmp_path / "parts").exists()


def test_a_model_that_changed_is_not_cut(tmp_path: Path) -> None:
    """Its ranges mean nothing any more."""
    path = write_onnx("skip", tmp_path)
    model = capture_onnx(path)
    write_onnx("split", tmp_path).replace(path)

    with pytest.raises(BadReference, match="capture"):
        write_parts(model, [(0, 6)], tmp_path / "parts")
