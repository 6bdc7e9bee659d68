"""An ONNX file as its skeleton and a table of where everything else lies.

Rules: the file is walked once, through a small window, and closed; what stays in memory is everything but the
values of tensors above 4 KB; a file that changed since then is refused, because its ranges mean nothing any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from ..errors import BadReference, CannotCapture, MissingExtra
from .onnx_tensor import Tensor, check_payload, elided, read_tensor
from .onnx_wire import BYTES, VARINT, Buffer, Field, Malformed, Piece, Span, fields, number_of, rewritten

# Shapes, axes and scales stay below this and are needed to infer shapes; weights lie above it.
SMALL = 4096
# Holds the head of any record and hundreds of nodes; a jump over a weight costs one read of this size.
_WINDOW = 1 << 14
_GRAPH, _OPSETS, _TRAINING, _FUNCTION = 7, 8, 20, 25
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_LFS = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Enough of a file's state to notice that it was replaced or written to."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The state of the file now."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True, eq=False, repr=False)
class OnnxFile:
    """One walked file. The spans are parallel to the lists of `proto`, the skeleton as onnx.ModelProto."""

    path: Path
    stamp: Stamp
    proto: Any
    nodes: tuple[Span, ...]
    initializers: tuple[Tensor, ...]
    sparse: tuple[Span, ...]
    functions: tuple[Span, ...]
    kept: tuple[Span, ...]
    """Fields of the model that every part keeps as they are: producer, version, doc string, metadata."""
    beside: Mapping[Path, Stamp] = field(default_factory=dict)
    """The files that hold weights outside, as they were."""

    def __repr__(self) -> str:
        return f"OnnxFile({str(self.path)!r}, {len(self.nodes)} nodes, {len(self.initializers)} weights)"

    def check_unchanged(self) -> None:
        """Refuse to read ranges of a file that is not the one that was walked."""
        for path, stamp in {self.path: self.stamp, **self.beside}.items():
            if not path.is_file() or Stamp.of(path) != stamp:
                raise BadReference(
                    f"{path} was removed or written to after it was captured", fix="capture it again"
                )


@final
class _Window:
    """The bytes of an open file, read as they are asked for.

    Not a memory map: the kernel would page in weights beside the records that are read, and a file that is cut
    short meanwhile would end the process instead of raising.
    """

    def __init__(self, handle: int, size: int) -> None:
        self._handle, self._size = handle, size
        self._start, self._held = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice) -> bytes:
        start, stop = key.start or 0, key.stop
        if stop is None or stop > self._size:
            stop = self._size
        at = start - self._start
        if at < 0 or stop - self._start > len(self._held):
            if stop - start > _WINDOW:
                return self._read(start, stop - start)
            self._start, self._held, at = start, self._read(start, min(_WINDOW, self._size - start)), 0
        return self._held[at : stop - self._start]

    def find(self, wanted: bytes, start: int, stop: int) -> int:
        """Where some bytes lie in a range, or -1."""
        step = _WINDOW - len(wanted)
        for at in range(start, stop, step):
            found = self[at : min(stop, at + _WINDOW)].find(wanted)
            if found >= 0:
                return at + found
        return -1

    def _read(self, start: int, count: int) -> bytes:
        chunks = []
        while count > 0:
            chunk = os.pread(self._handle, count, start)
            if not chunk:
                raise Malformed(f"it ends at byte {start}, {count} bytes too early")
            chunks.append(chunk)
            start, count = start + len(chunk), count - len(chunk)
        return b"".join(chunks)


@contextmanager
def opened(path: Path) -> Iterator[Buffer]:
    """The bytes of a file, for as long as they are needed."""
    with path.open("rb") as file:
        yield _Window(file.fileno(), os.fstat(file.fileno()).st_size)


def read_file(path: str | Path) -> OnnxFile:
    """Walk an ONNX file."""
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise BadReference(f"{path} is {what}", fix="give the path of an .onnx file")
    stamp = Stamp.of(path)
    try:
        with opened(path) as buffer:
            return _walk(path, stamp, buffer)
    except Malformed as error:
        raise CannotCapture(
            f"{path} is not an ONNX file, or was cut short: {error}",
            fix="check it with onnx.checker.check_model(path), then fetch or export it again",
        ) from error


def _walk(path: Path, stamp: Stamp, buffer: Buffer) -> OnnxFile:
    if buffer[: len(_LFS)] == _LFS:
        raise Malformed("it is a Git LFS pointer to the real file (fetch that with `git lfs pull`)")
    top = list(fields(buffer, 0, len(buffer)))
    graphs = [item for item in top if item.number == _GRAPH and item.wire == BYTES]
    version = [item for item in top if item.number == 1 and item.wire == VARINT]
    if not graphs or not version or not 0 < number_of(buffer, version[-1]) < 1000:
        raise Malformed("it has no graph" if version else "it states no IR version")
    inner = [item for graph in graphs for item in fields(buffer, graph.value, graph.stop)]
    dropped = (_GRAPH, _OPSETS, _TRAINING, _FUNCTION)
    weights = tuple(read_tensor(buffer, span.start, span.stop) for span in _spans(inner, _INITIALIZER))
    beside: dict[Path, Stamp] = {}
    for tensor in weights:
        other = check_payload(tensor, path)
        if other is not None and other not in beside:
            beside[other] = Stamp.of(other)
    return OnnxFile(
        path=path,
        stamp=stamp,
        proto=_skeleton(buffer, top),
        nodes=_spans(inner, _NODE),
        initializers=weights,
        sparse=_spans(inner, _SPARSE),
        functions=_spans(top, _FUNCTION),
        kept=tuple(Span(item.start, item.stop) for item in top if item.number not in dropped),
        beside=MappingProxyType(beside),
    )


def _spans(items: list[Field], number: int) -> tuple[Span, ...]:
    return tuple(Span(i.value, i.stop) for i in items if i.number == number and i.wire == BYTES)


def _skeleton(buffer: Buffer, top: list[Field]) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", extra="onnx", purpose="cutting an ONNX model") from error

    def on_tensor(start: int, stop: int) -> list[Piece] | None:
        return elided(buffer, start, stop, SMALL)

    pieces = rewritten(buffer, "model", Span(0, len(buffer)), on_tensor, at_least=SMALL)
    raw = b"".join(p if isinstance(p, bytes) else bytes(buffer[p.start : p.stop]) for p in pieces)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(raw)
    except Exception as error:  # DecodeError, of a protobuf library that is onnx's business
        raise Malformed(str(error) or "its messages do not parse") from error
    # Training graphs refer to the whole model's weights; parts are for inference.
    if any(item.number == _TRAINING for item in top):
        proto.ClearField("training_info")
    return proto
