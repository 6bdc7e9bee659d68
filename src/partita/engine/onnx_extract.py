"""Parts of an ONNX model as files of their own, put together from ranges of the model's file.

Rules: the model is not walked again and never loaded: weights go from file to file by ranges; the parts of one
call appear together when all are complete, and a data file is named by its digest, so that no crash leaves a part
with another part's weights; parts too large for one protobuf message keep their weights outside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from ..errors import BadReference, CannotCapture
from .onnx_copy import together, write_pieces
from .onnx_file import opened
from .onnx_layout import Mode, Placement, assemble
from .onnx_source import OnnxSource
from .onnx_wire import Buffer, Piece, Span, size

# Protocol Buffers end at 2 GiB; ONNX Runtime needs room for the rest of the message.
_LARGEST_INLINE = 1_500_000_000
# More do not help: then it is the disk that is waited for.
_MOST_THREADS = 4


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
    durable: bool = False,
) -> tuple[OnnxPartFile, ...]:
    """Write the parts [start, stop) as `stem-00.onnx` and so on.

    `external` True puts large weights into a data file beside each part, False puts all into the part, None keeps
    them as the model has them, but outside where a part would pass 1.5 GB. All parts appear, or none. `durable` waits
    until the disk has them; without it, a power cut soon after may leave files that their digests no longer match.
    """
    source, folder = model.source, Path(folder)
    if not stem or Path(stem).name != stem:
        raise BadReference(f"stem {stem!r} is no plain file name", fix="give a name without folders")
    for start, stop in parts:
        source.chain.check_part(start, stop)
    source.file.check_unchanged()
    width = max(2, len(str(len(parts) - 1)))
    names = [f"{stem}-{index:0{width}}" for index in range(len(parts))]
    # The largest first, so that no thread is left with it at the end.
    order = sorted(range(len(parts)), key=lambda index: -source.chain.part_bytes(*parts[index]))
    with together(folder, durable=durable) as scratch:
        job = _Job(source, external, scratch, folder)
        written = _in_threads([partial(job.write, parts[index], names[index]) for index in order])
        source.file.check_unchanged()
    files = dict(zip(order, written, strict=True))
    return tuple(files[index] for index in range(len(parts)))


def _in_threads(tasks: Sequence[Callable[[], OnnxPartFile]]) -> list[OnnxPartFile]:
    """All results, or the first error; hashing and copying leave the interpreter free for each other."""
    threads = max(1, min(_MOST_THREADS, os.cpu_count() or 1, len(tasks)))
    with ThreadPoolExecutor(threads, "partita-write") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


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


@dataclass(frozen=True)
class _Job:
    """What all parts of one call have in common."""

    source: OnnxSource
    external: bool | None
    scratch: Path
    folder: Path

    def write(self, part: tuple[int, int], name: str) -> OnnxPartFile:
        """One part, complete in the scratch folder."""
        source, model = self.source, self.source.file.path
        with opened(model) as buffer:  # one for each thread: it keeps a window
            mode, placement, pieces = _assembled(source, part, buffer, self.external)
            data, beside, data_digest = "", 0, ""
            if placement.regions:
                unnamed = self.scratch / f"{name}.data"
                beside, data_digest = write_pieces(placement.regions.items(), model, unnamed)
                data = f"{name}-{data_digest[:16]}.data"
                unnamed.rename(self.scratch / data)
                pieces = assemble(source, *part, buffer, Placement(source, mode, data))
        offsets = accumulate(map(len, pieces), initial=0)
        length, digest = write_pieces(
            zip(pieces, offsets, strict=False), model, self.scratch / f"{name}.onnx"
        )
        return OnnxPartFile(
            path=self.folder / f"{name}.onnx",
            data=self.folder / data if data else None,
            start=part[0],
            stop=part[1],
            inputs=source.chain.part_inputs(*part),
            outputs=source.chain.part_outputs(*part),
            bytes=length + beside,
            sha256=digest,
            data_sha256=data_digest,
        )


def _assembled(
    source: OnnxSource, part: tuple[int, int], buffer: Buffer, external: bool | None
) -> tuple[Mode, Placement, list[Piece]]:
    """A part in the first of the modes in which it fits one message."""
    modes: tuple[Mode, ...] = (
        ("keep", "outside") if external is None else ("outside",) if external else ("inline",)
    )
    total = 0
    for mode in modes:
        placement = Placement(source, mode)
        pieces = assemble(source, *part, buffer, placement)
        total = size(pieces)
        if total <= _LARGEST_INLINE:
            return mode, placement, pieces
    raise CannotCapture(
        f"part [{part[0]}:{part[1]}] has {total} bytes in one message, and {_LARGEST_INLINE} are the limit",
        fix="write it with external=True, or cut it into smaller parts",
    )
