"""A folder of slices says what it holds, and is believed only where that is so."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from partita.errors import BadDocument, CorruptArtifact, NotFound
from partita.graph import dump, load
from partita.slice import Manifest, Preparation, cut, plan_at, prepare, read_manifest, write_manifest
from partita.slice.manifest import MANIFEST, check_slice
from partita.testing.onnx_models import filled

WIDE = """
    <ir_version: 9, opset_import: ["" : 18]>
    wide (float[batch, 8] x) => (float[batch, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        a = MatMul(x, w1)
        r = Relu(a)
        c = MatMul(r, w2)
        d = Tanh(c)
        e = Add(d, r)
        y = MatMul(e, w3)
    }"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A skip over the middle of three slices; nobody changes this folder."""
    root = tmp_path_factory.mktemp("manifest")
    (root / "wide.onnx").write_bytes(filled(onnx.parser.parse_model(WIDE)).SerializeToString())
    ready = prepare(root / "wide.onnx", Preparation())
    cut(ready, plan_at(ready.chain, (2, 4)), root / "slices")
    return root / "slices"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "slices"))


def changed(folder: Path, change: Any) -> None:
    """Rewrite the manifest as a document."""
    document = json.loads((folder / MANIFEST).read_text())
    change(document)
    (folder / MANIFEST).write_text(json.dumps(document))


def test_a_manifest_reads_back_as_it_was_written(made: Path, tmp_path: Path) -> None:
    manifest = read_manifest(made)
    write_manifest(manifest, tmp_path)

    assert read_manifest(tmp_path, check=False) == manifest == load(Manifest, dump(manifest))


def test_it_describes_every_tensor_that_comes_crosses_or_goes(made: Path) -> None:
    manifest = read_manifest(made)
    crossing = {name for file in manifest.files for name in (*file.inputs, *file.outputs)}

    assert set(manifest.tensors) == crossing | {"x", "y"}
    assert manifest.tensors["y"].shape == ("batch", 8)


def test_what_a_slice_needs_is_what_it_or_a_later_one_reads_and_an_earlier_one_made(made: Path) -> None:
    """`r` is made in the first slice and read in the second and the third."""
    manifest = read_manifest(made)

    assert manifest.needed(0) == ("x",)
    assert manifest.needed(1) == ("r",)
    assert set(manifest.needed(2)) == {"r", "d"}
    assert manifest.needed(3) == ("y",)


@pytest.mark.parametrize("suffix", [".onnx", ".data"])
def test_a_missing_file_is_named(folder: Path, suffix: str) -> None:
    gone = next(folder.glob(f"slice-01*{suffix}"))
    gone.unlink()

    with pytest.raises(NotFound, match=f"slice 1: .*{gone.name} is missing"):
        read_manifest(folder)
    assert read_manifest(folder, check=False).files[1].path


@pytest.mark.parametrize("suffix", [".onnx", ".data"])
def test_an_altered_file_is_named(folder: Path, suffix: str) -> None:
    file = next(folder.glob(f"slice-01*{suffix}"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    with pytest.raises(CorruptArtifact, match=f"slice 1: .*{file.name} was altered"):
        read_manifest(folder)
    check_slice(read_manifest(folder, check=False), folder, 0)


def test_a_folder_without_a_manifest_holds_no_slices(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no slices in .*manifest\.json is missing"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("path", ""),
        *(
            (field, name)
            for field in ("path", "data")
            for name in ("../m.onnx", "/etc/hosts", "a/b", "..", ".")
        ),
    ],
)
def test_names_that_leave_the_folder_are_refused(folder: Path, field: str, name: str) -> None:
    changed(folder, lambda d: d["files"][1].update({field: name}))

    with pytest.raises(BadDocument, match="no plain file name"):
        read_manifest(folder)


def test_everything_that_does_not_hang_together_is_said_at_once(made: Path) -> None:
    manifest = read_manifest(made)
    first, *rest = manifest.files

    with pytest.raises(BadDocument) as caught:
        replace(
            manifest, files=(replace(first, inputs=("ghost",)), *rest), outputs=("y", "spirit"), tensors={}
        )

    said = "; ".join(caught.value.problems)
    assert "files[0]: reads 'ghost', which nothing makes" in said
    assert "outputs: 'spirit' is never made" in said
    assert "tensors: 'x' has no description" in said


def test_a_slice_too_few_is_refused(made: Path) -> None:
    manifest = read_manifest(made)

    with pytest.raises(BadDocument, match="2 for 3 slices"):
        replace(manifest, files=manifest.files[:2], outputs=("d",))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"partita": "plan", "version": 1}', "\xff"])
def test_a_manifest_that_cannot_be_read_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode("latin-1"))

    with pytest.raises(BadDocument, match="manifest"):
        read_manifest(folder)
