"""What a store is: artifacts addressed by the SHA-256 of their bytes, and a few names that point to them.

Three rules. An artifact never changes: to change it is to make another one. Names are the only thing that moves, and they
move by compare-and-swap. Every read is checked against the digest, and a file is never held in memory as a whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, final, runtime_checkable

from ..errors import BadDocument, CorruptArtifact, NotFound

__all__ = ["CHUNK", "Artifact", "Source", "Store", "check_digest", "check_name", "chunks_of", "verified"]

# Large enough that hashing (about 1 GB/s) hides the system calls, small enough for a device of 256 MB.
CHUNK = 1 << 20

Source = bytes | bytearray | memoryview | Path | BinaryIO | Iterable[bytes]

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
# Letters that every file system, URL and object store takes as they are.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)
_LONGEST_NAME = 200


@final
@dataclass(frozen=True, slots=True, order=True)
class Artifact:
    """A file by what it contains."""

    digest: str
    size: int

    def __str__(self) -> str:
        return f"sha256:{self.digest}"


@runtime_checkable
class Store(Protocol):
    """Where artifacts rest. `partita.testing.StoreSuite` says in tests what each promise means."""

    def put(self, source: Source) -> Artifact:
        """Keep these bytes; a reader sees all of them or nothing. Putting them again changes nothing."""
        ...

    def stat(self, digest: str) -> Artifact:
        """The artifact without its bytes; `NotFound` if it is not there."""
        ...

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes in pieces; ends in `CorruptArtifact` if they were not those of the digest."""
        ...

    def read(self, digest: str, *, limit: int) -> bytes:
        """All bytes of a small artifact, checked before they are returned."""
        ...

    def fetch(self, digest: str, path: Path) -> Path:
        """Write the artifact to a file, which appears only when it is complete and checked."""
        ...

    def delete(self, digest: str) -> None:
        """Forget the artifact; nothing happens if it is not there."""
        ...

    def artifacts(self) -> Iterator[Artifact]:
        """All artifacts, in the order of their digests."""
        ...

    def resolve(self, name: str) -> str | None:
        """The digest a name points to."""
        ...

    def swap(self, name: str, old: str | None, new: str | None) -> bool:
        """Point the name to `new` if it still points to `old` (None: to nothing); say whether it did."""
        ...

    def names(self) -> Iterator[tuple[str, str]]:
        """All names with their digests, in order."""
        ...


def check_digest(digest: str) -> str:
    """A digest is 64 lower-case hexadecimal digits: anything else could name a path."""
    bare = digest.removeprefix("sha256:")
    if not _DIGEST.fullmatch(bare):
        raise BadDocument(
            f"digest {digest[:80]!r}", ["is not a SHA-256"], fix="give 64 lower-case hex digits"
        )
    return bare


def check_name(name: str) -> str:
    """A name is plain words between slashes: no `..`, no leading dot, nothing a shell or URL would read otherwise."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise BadDocument(
            f"name {name[:80]!r}",
            [f"is not at most {_LONGEST_NAME} of letters, digits and . _ - between slashes"],
            fix="use a name such as recipes/resnet-50",
        )
    return name


def chunks_of(source: Source) -> Iterator[bytes | memoryview]:
    """The bytes of anything that can be put, piece by piece."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        whole = memoryview(source).cast("B")
        for at in range(0, len(whole), CHUNK):
            yield whole[at : at + CHUNK]
    elif isinstance(source, Path):
        yield from _file_chunks(source)
    elif hasattr(source, "read"):
        while piece := source.read(CHUNK):
            yield piece
    else:
        yield from source


def _file_chunks(path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"file {path} is not there", fix="check the path") from error
    except OSError as error:
        raise BadDocument(
            f"file {path}", [f"cannot be read: {error}"], fix="give a file that you may read"
        ) from error
    with file:
        while piece := file.read(CHUNK):
            yield piece


def verified(digest: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pass the pieces on; raise after the last if together they are not the artifact."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
        yield piece
    if found.hexdigest() != digest:
        raise CorruptArtifact(
            f"artifact sha256:{digest} holds bytes of sha256:{found.hexdigest()}",
            fix="delete it and put it again from its source; check the disk if this repeats",
        )


def read_bounded(artifact: Artifact, pieces: Iterator[bytes], limit: int) -> bytes:
    """All pieces of an artifact that is small enough."""
    if artifact.size > limit:
        raise BadDocument(
            f"artifact {artifact}",
            [f"has {artifact.size} bytes, and {limit} are read at once"],
            fix="use fetch() or chunks() for large artifacts, or raise the limit",
        )
    return b"".join(pieces)


def missing(digest: str) -> NotFound:
    """The error for an artifact that is not there."""
    return NotFound(
        f"artifact sha256:{digest} is not in this store", fix="put it first, or check which store you opened"
    )
