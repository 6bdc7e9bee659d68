"""Parts of one ONNX model that share the files of their weights.

Rules: a weight lies once on disk, in the data file of the first part that uses it, and every other part names that
range, so that the page cache holds it once too; nothing is loaded, weights go from file to file by ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ..errors import CannotCapture
from .onnx_copy import write_pieces
from .onnx_file import opened
from .onnx_layout import Placement, assemble
from .onnx_source import OnnxSource
from .onnx_tensor import elsewhere
from .onnx_wire import Piece, Span, size

_PAGE = 4096
# One protobuf message holds 2 GB; weights are outside, so that only made-up models come near.
_LARGEST = 1_500_000_000


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file in the folder. `data` names the files that hold its weights; `inputs` and `outputs` are those of a part."""

    name: str
    bytes: int
    sha256: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()


class _Shared(Placement):
    """Places large weights into the file of whoever came first, and remembers whose files were used."""

    def __init__(self, source: OnnxSource, table: dict[Span, tuple[str, int]], owner: str) -> None:
        super().__init__(source, "outside")
        self._table, self._owner = table, owner
        self.used: dict[str, None] = {}

    def _elsewhere(self, payload: Span | None) -> list[Piece]:
        assert payload is not None  # noqa: S101 - only weights that lie in one piece are placed
        if payload not in self._table:
            mine = [(span, offset) for span, (name, offset) in self._table.items() if name == self._owner]
            end = max((offset + len(span) for span, offset in mine), default=0)
            self._table[payload] = (self._owner, -(-end // _PAGE) * _PAGE)
        location, offset = self._table[payload]
        self.used[location] = None
        return elsewhere(location, offset, len(payload))


def write_shared(parts: Mapping[str, tuple[OnnxSource, str]], folder: Path) -> tuple[WrittenFile, ...]:
    """Write parts of one model as `NAME.onnx`, each with the data file that its new weights go to.

    Parts come in an order in which the first to use a weight is the one whose data file should hold it. Data files
    are the last of the result, in the order of their first use.
    """
    table: dict[Span, tuple[str, int]] = {}
    written: list[WrittenFile] = []
    model = Path()
    for name, (source, owner) in parts.items():
        source.file.check_unchanged()
        model, count = source.file.path, len(source.chain)
        placement = _Shared(source, table, owner)
        with opened(model) as buffer:
            pieces = assemble(source, 0, count, buffer, placement)
        if size(pieces) > _LARGEST:
            raise CannotCapture(
                f"the part {name} has {size(pieces)} bytes without its weights, and {_LARGEST} are the limit",
                fix="export the model with its constants as initializers",
            )
        offsets = accumulate(map(len, pieces), initial=0)
        length, digest = write_pieces(zip(pieces, offsets, strict=False), model, folder / f"{name}.onnx")
        ends = source.chain.part_inputs(0, count), source.chain.part_outputs(0, count)
        written.append(WrittenFile(f"{name}.onnx", length, digest, *ends, tuple(placement.used)))
    for data in dict.fromkeys(name for name, _ in table.values()):
        regions = [(span, offset) for span, (name, offset) in table.items() if name == data]
        length, digest = write_pieces(regions, model, folder / data)
        written.append(WrittenFile(data, length, digest))
    return tuple(written)
