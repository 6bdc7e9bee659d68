"""Files put together from pieces: read once, hashed on the way, and moved into place together.

Rules: a range is held in memory one chunk at a time, and holes stay holes; the digest covers the bytes that were
read in the same pass; files that belong together appear when all are complete, or the folder is as it was found.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import BadReference, CannotCapture
from .onnx_wire import Piece, Span

# Fits the second-level cache, so that a chunk is read from memory once although it is hashed and written.
_CHUNK = 1 << 20
# Below this, asking the file systems to share the range costs more than writing it.
_SMALL_COPY = 1 << 16
_ZEROS = bytes(1 << 16)


@contextmanager
def together(folder: Path, *, durable: bool = False) -> Iterator[Path]:
    """A scratch folder; what is written into it appears in `folder` when the block ends well, under the same names.

    `durable` waits until the disk has it. Files of the same name are replaced; with an error, the folder is as it was.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    scratch = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".partita-", dir=folder))
        yield scratch
        if durable:
            for path in scratch.iterdir():
                _settled(path)
        _moved(scratch, folder)
        if durable:
            _settled(folder)
    except BaseException as error:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        for path in absent:
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            raise _refused(folder, error) from error
        raise
    shutil.rmtree(scratch, ignore_errors=True)


def _refused(folder: Path, error: OSError) -> BadReference:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fix = "make room there" if full else "choose a folder that you may write to"
    return BadReference(
        f"cannot write into {folder}: {error.strerror or error}; nothing was left there",
        fix=f"{fix}, or name another folder",
    )


def _settled(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _moved(scratch: Path, folder: Path) -> None:
    """Move every file, the data before what refers to it; what fails is undone."""
    new = sorted(scratch.iterdir(), key=lambda path: (path.suffix != ".data", path.name))
    for path in new:
        if (folder / path.name).is_dir():
            raise BadReference(
                f"{folder / path.name} is a folder, and a file of that name is to be written",
                fix="move it away, or name another folder or stem",
            )
    old = scratch / "old"
    old.mkdir()
    done: list[tuple[Path, Path | None]] = []
    try:
        for path in new:
            final, kept = folder / path.name, None
            if final.exists() or final.is_symlink():
                kept = _kept(final, old / path.name)
            done.append((final, kept))
            path.replace(final)
    except BaseException:
        for final, kept in reversed(done):
            if kept is None:
                final.unlink(missing_ok=True)
            else:
                kept.replace(final)
        raise


def _kept(path: Path, copy: Path) -> Path:
    """A second name for a file, so that the first can be replaced in one step and given back."""
    try:
        os.link(path, copy, follow_symlinks=False)
    except OSError:  # a file system without links
        path.rename(copy)
    return copy


def write_pieces(pieces: Iterable[tuple[Piece, int]], model: Path, path: Path) -> tuple[int, str]:
    """A new file of pieces at rising offsets, zeros between them: its length and its SHA-256.

    Ranges without a path are of `model`.
    """
    digest, end = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("xb", buffering=0) as target, ExitStack() as stack:
        sources: dict[Path, BinaryIO] = {}
        for piece, offset in pieces:
            _zeros(digest, offset - end)
            end = offset + len(piece)
            if isinstance(piece, bytes):
                digest.update(piece)
                _put(target.fileno(), memoryview(piece), offset)
                continue
            name = piece.path or model
            if name not in sources:
                sources[name] = stack.enter_context(name.open("rb", buffering=0))
            _copy(sources[name], target.fileno(), piece, offset, digest, buffer)
        target.truncate(end)
    return end, digest.hexdigest()


def _zeros(digest: Any, count: int) -> None:
    while count > 0:
        digest.update(_ZEROS[:count])
        count -= len(_ZEROS)


def _copy(source: BinaryIO, target: int, span: Span, offset: int, digest: Any, buffer: memoryview) -> None:
    """Copy a range to `offset`, holes as holes."""
    handle, done = source.fileno(), span.start
    held = os.fstat(handle).st_size
    if held < span.stop:
        raise _cut_short(source, held, span)
    for part in _extents(handle, span):
        _zeros(digest, part.start - done)
        done = part.start
        while done < part.stop:
            read = os.preadv(handle, [buffer[: part.stop - done]], done)
            if not read:
                raise _cut_short(source, done, span)
            digest.update(buffer[:read])
            _transfer(handle, target, buffer[:read], done, offset + done - span.start)
            done += read
    _zeros(digest, span.stop - done)


def _cut_short(source: BinaryIO, at: int, span: Span) -> CannotCapture:
    return CannotCapture(
        f"{source.name} ends at byte {at}, but a weight goes on to byte {span.stop}",
        fix="the file was cut short while it was read: fetch it again and capture it again",
    )


def _extents(handle: int, span: Span) -> Iterator[Span]:
    """The parts of a range that hold data: weights that are all zeros may be holes, and stay holes."""
    if len(span) < _CHUNK or not hasattr(os, "SEEK_DATA"):
        yield span
        return
    at = span.start
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


def _transfer(source: int, target: int, chunk: memoryview, start: int, offset: int) -> None:
    """Write a chunk that was read from `start`: shared between the files where their file system can do that."""
    done = 0
    if len(chunk) >= _SMALL_COPY and hasattr(os, "copy_file_range"):
        try:
            while done < len(chunk):
                copied = os.copy_file_range(source, target, len(chunk) - done, start + done, offset + done)
                if not copied:
                    break
                done += copied
        except (
            OSError
        ):  # two file systems, or one that does not know how; a full disk says so once more below
            pass
    _put(target, chunk[done:], offset + done)


def _put(target: int, chunk: memoryview, offset: int) -> None:
    done = 0
    while done < len(chunk):
        done += os.pwrite(target, chunk[done:], offset + done)
