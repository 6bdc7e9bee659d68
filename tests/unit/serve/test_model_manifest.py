"""What lies in the folder of an exported network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from partita.errors import BadDocument
from partita.graph import dump, load
from partita.serve.model_manifest import MANIFEST, ExitModelManifest, ModelFile, damaged, read_manifest


def test_a_manifest_is_read_as_it_was_written(three_folder: Path) -> None:
    """Equal, digest included."""
    manifest = read_manifest(three_folder)

    assert load(ExitModelManifest, dump(manifest)) == manifest
    assert load(ExitModelManifest, dump(manifest)).digest == manifest.digest


def test_every_file_of_the_folder_is_named(three_folder: Path) -> None:
    """And nothing else lies there."""
    there = {path.name for path in three_folder.iterdir()}

    assert there == {*read_manifest(three_folder).files, MANIFEST}
    assert damaged(three_folder, read_manifest(three_folder)) == []


def test_other_weights_are_another_network(three_folder: Path) -> None:
    """Names alone do not make the digest."""
    manifest = read_manifest(three_folder)
    data = (replace(manifest.data[0], sha256="0" * 64), *manifest.data[1:])

    assert replace(manifest, data=data).digest != manifest.digest


def test_what_was_proved_is_no_part_of_the_digest(three_folder: Path) -> None:
    """Another machine's rounding does not make another network."""
    manifest = read_manifest(three_folder)

    assert replace(manifest, parity=replace(manifest.parity, fast=1.0)).digest == manifest.digest


def test_all_faults_of_a_manifest_are_named_at_once(three_folder: Path) -> None:
    """Counts that disagree, spans that cannot be, files outside of the folder."""
    manifest = read_manifest(three_folder)
    strange = ModelFile("../outside.onnx", "", 0, (), (), ("nowhere.data",))

    with pytest.raises(BadDocument) as caught:
        replace(manifest, outputs=("first",), spans={**manifest.spans, "2-7": (strange,), "1-1": ()})

    said = "; ".join(caught.value.problems)
    assert "outputs: 1 for 3 exits" in said
    assert "spans.2-7: is no span" in said
    assert "spans.1-1: has no files" in said
    assert "'nowhere.data' is not among" in said
    assert "'../outside.onnx' is no plain file name" in said


def test_fields_that_nobody_knows_are_refused(three_folder: Path, tmp_path: Path) -> None:
    """A typing error is not ignored."""
    document = json.loads((three_folder / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**document, "exitz": []}))

    with pytest.raises(BadDocument, match="exitz: is not a field"):
        read_manifest(tmp_path)
