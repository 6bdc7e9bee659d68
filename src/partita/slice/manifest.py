"""What a folder of slices says about itself: `manifest.json`, written last, read first.

Rules: a file is believed only if its digest matches; a name in a manifest never leaves the folder; whoever runs
slices needs this document and the files, not the model, the plan or the onnx package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import BadDocument, CorruptArtifact, NotFound
from ..graph import TensorSpec, dump, load
from .document import Exactness, SlicePlan

MANIFEST = "manifest.json"
_AGAIN = "cut the model again: partita slice cut MODEL.onnx -o FOLDER"


@dataclass(frozen=True)
class SliceFile:
    """One slice on disk. `data` holds its weights, empty where it has none outside; `bytes` counts both files."""

    path: str
    data: str
    sha256: str
    data_sha256: str
    bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def names(self) -> dict[str, str]:
        """Its files and their digests."""
        return {self.path: self.sha256, **({self.data: self.data_sha256} if self.data else {})}


@dataclass(frozen=True)
class Manifest:
    """A cut model. `tensors` describes its inputs, its outputs and everything that crosses between two slices."""

    plan: SlicePlan
    files: tuple[SliceFile, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, TensorSpec]
    exactness: Exactness
    prepack: bool
    runtime: str
    """The version of ONNX Runtime that prepared the slices."""
    made_by: str
    """The version of Partita that cut them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        problems = [
            f"files[{index}]: {name!r} is no plain file name"
            for index, file in enumerate(self.files)
            for name in file.names
            if name in ("", "..") or Path(name).name != name
        ]
        if len(self.files) != len(self.plan.slices):
            problems.append(f"files: {len(self.files)} for {len(self.plan.slices)} slices")
        known = set(self.inputs)
        for index, file in enumerate(self.files):
            problems += [
                f"files[{index}]: reads {n!r}, which nothing makes" for n in file.inputs if n not in known
            ]
            known.update(file.outputs)
        problems += [f"outputs: {n!r} is never made" for n in self.outputs if n not in known]
        problems += [f"tensors: {n!r} has no description" for n in sorted(known) if n not in self.tensors]
        if problems:
            raise BadDocument("manifest of slices", problems, fix=_AGAIN)

    def needed(self, index: int) -> tuple[str, ...]:
        """What must be handed from slice `index - 1` on: read by `index` or later, or an answer, and made before."""
        made = set(self.inputs).union(*(file.outputs for file in self.files[:index]))
        wanted = dict.fromkeys(name for file in self.files[index:] for name in file.inputs)
        wanted.update(dict.fromkeys(self.outputs))
        return tuple(name for name in wanted if name in made)


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it into a folder whose files are complete."""
    (folder / MANIFEST).write_text(dump(manifest) + "\n", encoding="utf-8")


def read_manifest(folder: Path, *, check: bool = True) -> Manifest:
    """The manifest of a folder; with `check`, every file's digest is compared."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound(f"there are no slices in {folder}: {MANIFEST} is missing", fix=_AGAIN)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDocument(f"manifest {str(path)!r}", [f"cannot be read: {error}"], fix=_AGAIN) from None
    manifest = load(Manifest, text, name=str(path))
    if check:
        for index in range(len(manifest.files)):
            check_slice(manifest, folder, index)
    return manifest


def check_slice(manifest: Manifest, folder: Path, index: int) -> None:
    """Refuse a slice whose files are missing or altered."""
    for name, digest in manifest.files[index].names.items():
        path = folder / name
        if not path.is_file():
            raise NotFound(f"slice {index}: {path} is missing", fix=_AGAIN)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise CorruptArtifact(
                f"slice {index}: {path} was altered: its SHA-256 is {found[:16]}, not {digest[:16]}",
                fix=_AGAIN,
            )
