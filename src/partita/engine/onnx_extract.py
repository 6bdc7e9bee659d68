"""Parts of an ONNX model as files of their own, put together from ranges of the model's file.

Rules: the model is not walked again and never loaded: weights go from file to file in the kernel; a file
appears under its name only when it is complete, and a data file is named by its digest, so that no crash
leaves a part with another part's weights; parts too large for one protobuf message keep their weights outside.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Protocol

from ..errors import BadReference, CannotCapture
from .onnx_file import opened
from .onnx_layout import Mode, Placement, assemble
from .onnx_source import OnnxSource
from .onnx_wire import Buffer, Piece, Span, size

# Protocol Buffers end at 2 GiB; ONNX Runtime needs room for the rest of the message.
_LARGEST_INLINE = 1_500_000_000
# Below this a system call costs more than the copy.
_SMALL_COPY = 1 << 16
_CHUNK = 1 << 20


class Sourced(Protocol):
    """What parts are cut from: an OnnxModel."""

    @property
    def source(self) -> OnnxSource: ...


@dataclass(frozen=True, slots=True)
class OnnxPartFile:
    """One written part. `bytes` counts both files; `data` is the file of weights outside, if there is one."""

    path: Path
    data: Path | None
    start: int
    stop: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bytes: int
    sha256: str
    data_sha256: str


def write_parts(
    model: Sourced,
    parts: Sequence[tuple[int, int]],
    folder: str | Path,
    *,
    external: bool | None = None,
    stem: str = "part",
) -> tuple[OnnxPartFile, ...]:
    """Write the parts [start, stop) as `stem-00.onnx` and so on.

    `external` True puts large weights into a data file beside each part, False puts all into the part, None keeps
    them as the model has them, but outside where a part would pass 1.5 GB.
    """
    source, folder = model.source, Path(folder)
    if not stem or Path(stem).name != stem:
        raise BadReference(f"stem {stem!r} is no plain file name", fix="give a name without folders")
    for start, stop in parts:
        source.chain.check_part(start, stop)
    source.file.check_unchanged()
    folder.mkdir(parents=True, exist_ok=True)
    width = max(2, len(str(len(parts) - 1)))
    with opened(source.file.path) as buffer:
        return tuple(
            _write_part(source, part, buffer, external, folder / f"{stem}-{index:0{width}}.onnx")
            for index, part in enumerate(parts)
        )


def part_bytes(source: OnnxSource, start: int, stop: int, largest: int) -> bytes | None:
    """A part as one message in memory, or None where it would be larger than `largest`."""
    source.file.check_unchanged()
    with opened(source.file.path) as buffer, ExitStack() as stack:
        pieces = assemble(source, start, stop, buffer, Placement(source, "inline"))
        if size(pieces) > largest:
            return None
        maps = {p.path: stack.enter_context(opened(p.path)) for p in _spans(pieces) if p.path}
        return b"".join(
            p if isinstance(p, bytes) else bytes((maps[p.path] if p.path else buffer)[p.start : p.stop])
            for p in pieces
        )


def _spans(pieces: Iterable[Piece]) -> list[Span]:
    return [piece for piece in pieces if isinstance(piece, Span)]


def _write_part(
    source: OnnxSource, part: tuple[int, int], buffer: Buffer, external: bool | None, path: Path
) -> OnnxPartFile:
    mode = _mode(source, part, buffer, external)
    placement = Placement(source, mode)
    pieces = assemble(source, *part, buffer, placement)
    data, data_digest = None, ""
    if placement.regions:
        data, data_digest = _write(
            placement.regions.items(),
            source.file.path,
            path.parent,
            lambda digest: path.with_name(f"{path.stem}-{digest[:16]}.data"),
        )
        pieces = assemble(source, *part, buffer, Placement(source, mode, data.name))
    offsets = accumulate(map(len, pieces), initial=0)
    _, digest = _write(zip(pieces, offsets, strict=False), source.file.path, path.parent, lambda _: path)
    return OnnxPartFile(
        path=path,
        data=data,
        start=part[0],
        stop=part[1],
        inputs=source.chain.part_inputs(*part),
        outputs=source.chain.part_outputs(*part),
        bytes=size(pieces) + (data.stat().st_size if data else 0),
        sha256=digest,
        data_sha256=data_digest,
    )


def _mode(source: OnnxSource, part: tuple[int, int], buffer: Buffer, external: bool | None) -> Mode:
    mode: Mode = "outside" if external else "keep" if external is None else "inline"
    total = size(assemble(source, *part, buffer, Placement(source, mode)))
    if total > _LARGEST_INLINE and mode == "keep":
        mode = "outside"
        total = size(assemble(source, *part, buffer, Placement(source, mode)))
    if total > _LARGEST_INLINE:
        raise CannotCapture(
            f"part [{part[0]}:{part[1]}] has {total} bytes in one message, and {_LARGEST_INLINE} are the limit",
            fix="write it with external=True, or cut it into smaller parts",
        )
    return mode


def _write(
    pieces: Iterable[tuple[Piece, int]], model: Path, folder: Path, name: Callable[[str], Path]
) -> tuple[Path, str]:
    """A file made of pieces at their offsets, under the name that its digest asks for; and the digest."""
    handle, temporary = tempfile.mkstemp(prefix=".partita-", dir=folder)
    try:
        with os.fdopen(handle, "w+b") as target, ExitStack() as stack:
            sources: dict[Path, BinaryIO] = {}
            end = 0
            for piece, offset in pieces:
                target.seek(offset)
                end = max(end, offset + len(piece))
                if isinstance(piece, bytes):
                    target.write(piece)
                    continue
                path = piece.path or model
                if path not in sources:
                    sources[path] = stack.enter_context(path.open("rb"))
                _copy(sources[path], target, piece)
            target.truncate(end)
            target.seek(0)
            digest = hashlib.file_digest(target, "sha256").hexdigest()
            os.fsync(target.fileno())
        final = name(digest)
        # mkstemp makes files private; a part is as readable as any file its owner writes.
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(final)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return final, digest


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _copy(source: BinaryIO, target: BinaryIO, span: Span) -> None:
    """Copy a range to where the target stands, holes as holes."""
    start = target.tell()
    for part in _extents(source, span):
        target.seek(start + part.start - span.start)
        at = part.start
        if len(part) >= _SMALL_COPY and hasattr(os, "copy_file_range"):
            target.flush()
            at = _copy_in_kernel(source, target, part)
        while at < part.stop:
            chunk = os.pread(source.fileno(), min(_CHUNK, part.stop - at), at)
            if not chunk:
                raise CannotCapture(
                    f"{source.name} ends at byte {at}, but a weight goes on to byte {span.stop}",
                    fix="the file was cut short while it was read: fetch it again and capture it again",
                )
            target.write(chunk)
            at += len(chunk)


def _extents(source: BinaryIO, span: Span) -> Iterator[Span]:
    """The parts of a range that hold data: weights that are all zeros may be holes, and stay holes."""
    if len(span) < _CHUNK or not hasattr(os, "SEEK_DATA"):
        yield span
        return
    handle, at = source.fileno(), span.start
    while at < span.stop:
        try:
            data = os.lseek(handle, at, os.SEEK_DATA)
            hole = os.lseek(handle, data, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system without holes; ENXIO: only a hole is left
                yield Span(at, span.stop)
            return
        if data >= span.stop:
            return
        yield Span(data, min(hole, span.stop))
        at = hole


def _copy_in_kernel(source: BinaryIO, target: BinaryIO, span: Span) -> int:
    """Where the copy stopped: at the end of the span, or where the file systems refused to go on."""
    at, to = span.start, target.tell()
    while at < span.stop:
        try:
            copied = os.copy_file_range(source.fileno(), target.fileno(), span.stop - at, at, to)
        except OSError:  # two file systems, or one that does not know how
            break
        if copied == 0:
            break
        at, to = at + copied, to + copied
    target.seek(to)
    return at
