"""What lies in the folder of an exported network with exits: `exits.json`.

Rules: pure data; every file with its digest; features by border, each with the axis along which its batch lies, so
that requests can be regrouped; what was proved when it was written is part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ..errors import BadDocument, NotFound
from ..graph import Dim, DType, load

Granularity = Literal["exit", "block", "model"]
MANIFEST = "exits.json"


@dataclass(frozen=True)
class Feature:
    """A tensor that is held between two stages, or an input.

    `axis` is where its batch lies, `each` how many places along it one sample takes; without an axis it is the same
    for every batch.
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    axis: int | None = 0
    each: int = 1


@dataclass(frozen=True)
class ModelFile:
    """One ONNX file: what it takes and gives, and which data files hold its weights."""

    name: str
    sha256: str
    bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataFile:
    """Weights that several ONNX files share."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Parity:
    """What was compared when the folder was written, as largest differences over all exits; 0 is equal bit for bit.

    `chain`: stage after stage against ONNX Runtime on the one file at the level it was prepared with. `spans`: every
    span likewise. `regrouped`: rows of one batch put into another between two stages. `fast`: every file optimised
    once more for itself. `torch`: against PyTorch, where the network came from there.
    """

    batches: tuple[int, ...]
    chain: float
    spans: float
    regrouped: float | None
    fast: float
    torch: float | None
    runtime: str = ""


@dataclass(frozen=True)
class ExitModelManifest:
    """A network with K exits as files. `spans` maps "i-j" to the files that run stages i to j, one after the other;
    "k-k" is stage k. `borders[k]` is what is held before stage k, the inputs first. `batch` is a fixed batch size."""

    model: str
    exits: tuple[str, ...]
    outputs: tuple[str, ...]
    classes: int
    inputs: tuple[Feature, ...]
    borders: tuple[tuple[Feature, ...], ...]
    spans: Mapping[str, tuple[ModelFile, ...]]
    data: tuple[DataFile, ...]
    granularity: Granularity
    optimize: Literal["none", "basic", "extended"]
    parity: Parity
    kind: str = ""
    batch: int | None = None
    flops: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", MappingProxyType(dict(self.spans)))
        problems = [] if self.exits else ["exits: there are none"]
        counted = ("outputs", "borders", *(("flops",) if self.flops else ()))
        problems += [
            f"{name}: {len(getattr(self, name))} for {len(self.exits)} exits"
            for name in counted
            if len(getattr(self, name)) != len(self.exits)
        ]
        known = {f"{i}-{j}" for j in range(len(self.exits)) for i in range(j + 1)}
        problems += [
            f"spans.{key}: is no span of {len(self.exits)} stages" for key in self.spans if key not in known
        ]
        problems += [f"spans.{key}: has no files" for key, files in self.spans.items() if not files]
        data = {one.name for one in self.data}
        problems += [
            f"spans.{key}: {name!r} is not among the data files"
            for key, files in self.spans.items()
            for file in files
            for name in file.data
            if name not in data
        ]
        every = [*(f.name for files in self.spans.values() for f in files), *data]
        problems += [f"files: {n!r} is no plain file name" for n in every if not n or Path(n).name != n]
        if problems:
            raise BadDocument("exported network", problems, fix="export it again: partita serve export")

    @property
    def files(self) -> Mapping[str, ModelFile | DataFile]:
        """Every file of the folder by name."""
        found: dict[str, ModelFile | DataFile] = {}
        for files in self.spans.values():
            found.update((file.name, file) for file in files)
        return found | {file.name: file for file in self.data}

    @cached_property
    def digest(self) -> str:
        """What the network is: the same for the same files, whatever the folder is called."""
        digest = hashlib.sha256("\n".join(self.exits).encode())
        for name, file in sorted(self.files.items()):
            digest.update(f"\n{name} {file.sha256}".encode())
        return f"sha256:{digest.hexdigest()}"

    @property
    def stages(self) -> bool:
        """Whether stages can be run one by one."""
        return all(f"{k}-{k}" in self.spans for k in range(len(self.exits)))


def read_manifest(folder: str | Path) -> ExitModelManifest:
    """The manifest of a folder."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise NotFound(
            f"{folder} holds no exported network: there is no {MANIFEST}",
            fix="write one with `partita serve export`, or give its folder",
        )
    return load(ExitModelManifest, path.read_text(encoding="utf-8"), name=str(path))


def damaged(folder: Path, manifest: ExitModelManifest) -> list[str]:
    """What is wrong with the files of a folder: missing ones, and those with other bytes than were written."""
    problems = []
    for name, file in sorted(manifest.files.items()):
        path = folder / name
        if not path.is_file():
            problems.append(f"{name}: is missing")
        elif path.stat().st_size != file.bytes:
            problems.append(f"{name}: has {path.stat().st_size} bytes, and {file.bytes} were written")
        else:
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                    problems.append(f"{name}: other bytes than were written")
    return problems
