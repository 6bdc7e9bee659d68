"""What it means to have written a model as ONNX: the result, and a file that appears complete or not at all.

Rules: nothing is left half-written; weights outside the file stand in place before the file that names them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadDocument, BadReference


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """A file that was written and what was seen of it. `data` holds the weights where they lie outside.

    `difference` is the largest between ONNX Runtime and the model's own library, `relative` the same against the
    largest number of that output, both over all `batches` that were tried; None where they were not compared.
    `batch` names the open batch dimension; None where the size is fixed.
    """

    path: Path
    data: Path | None
    bytes: int
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: str | None
    batches: tuple[int, ...]
    difference: float | None
    relative: float | None


def outside(path: Path) -> Path:
    """Where the weights of a model lie that does not hold them itself."""
    return path.with_name(f"{path.name}.data")


@contextmanager
def in_place(path: Path) -> Iterator[Path]:
    """A scratch folder beside the file, whose files take their places when all went well."""
    if path.suffix != ".onnx":
        raise BadDocument("output", [f"{path} does not end with .onnx"], fix="write it like model.onnx")
    if path.is_dir():
        raise BadDocument("output", [f"{path} is a folder"], fix="name a file")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as name:
            yield Path(name)
            for made in sorted(Path(name).iterdir(), key=lambda p: p.name == path.name):
                made.replace(path.with_name(made.name))
    except OSError as error:
        raise BadReference(
            f"{path}: {error.strerror or error}", fix="name a file in a folder that you may write to"
        ) from None
