"""A store in a bucket: S3 and kin, Google Cloud, Azure, or memory, through obstore; any endpoint.

Three rules. An object's key is its digest, so that two writers of one artifact write the same bytes and neither can lose.
What is small is created under a condition; what is large goes up in parts, and appears only when all of them are there.
A name moves only if its ETag is still the one that was read; where the bucket cannot promise that, the store says so.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, final

from ..errors import AccessDenied, MissingExtra, StoreUnavailable
from .base import (
    CHUNK,
    Artifact,
    Source,
    check_digest,
    check_name,
    chunks_of,
    missing,
    read_bounded,
    verified,
)
from .local import write_whole

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Backend

__all__ = ["ObjectStore"]

# S3 takes parts of 5 MiB to 5 GiB, at most 10,000 of them: 8 MiB parts reach 80 GB.
_PART = 8 << 20
# A name's object is one digest; anything longer was not written by us.
_LONGEST_POINTER = 128


@final
class ObjectStore:
    """Artifacts and names in a bucket. Make one with `ObjectStore.at(url)`, or around an obstore store of your own."""

    def __init__(self, backend: Backend, *, where: str = "object store") -> None:
        self._backend = backend
        self._where = where

    @classmethod
    def at(
        cls, url: str, *, endpoint: str | None = None, options: Mapping[str, Any] | None = None
    ) -> ObjectStore:
        """Open `s3://bucket/prefix` and the like. `endpoint` is any S3-compatible server, http included.

        Credentials come from the environment as for every S3 client; `options` are obstore's settings.
        """
        obstore = _obstore()
        config = dict(options or {})
        if endpoint:
            config["endpoint"] = endpoint
        try:
            backend = obstore.store.from_url(
                url,
                config=config or None,
                client_options={"allow_http": bool(endpoint and endpoint.startswith("http://"))},
                # obstore's own default keeps a caller waiting for three minutes.
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
            )
        except obstore.exceptions.BaseError as error:
            raise StoreUnavailable(
                f"{url} cannot be opened: {error}", fix="check the URL and the options"
            ) from error
        return cls(backend, where=url)

    def put(self, source: Source) -> Artifact:
        """Keep these bytes; they are spooled to disk first, because the key is their digest."""
        with tempfile.TemporaryFile() as spool:
            artifact = _spool(source, spool)
            key = _key(artifact.digest)
            with self._told(artifact.digest):
                if artifact.size <= _PART:
                    self._create(key, spool.read())
                elif not self._there(artifact):
                    self._backend.put(key, spool, use_multipart=True, chunk_size=_PART)
        return artifact

    def stat(self, digest: str) -> Artifact:
        """The artifact without its bytes."""
        bare = check_digest(digest)
        with self._told(bare):
            return Artifact(bare, self._backend.head(_key(bare))["size"])

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes in pieces, checked at the end."""
        bare = check_digest(digest)
        with self._told(bare):
            stream = self._backend.get(_key(bare)).stream(min_chunk_size=CHUNK)
        return verified(bare, self._pieces(bare, stream))

    def read(self, digest: str, *, limit: int) -> bytes:
        """All bytes of a small artifact."""
        return read_bounded(self.stat(digest), self.chunks(digest), limit)

    def fetch(self, digest: str, path: Path) -> Path:
        """Write the artifact to a file, complete or not at all."""
        return write_whole(path, self.chunks(digest))

    def delete(self, digest: str) -> None:
        """Forget the artifact."""
        bare = check_digest(digest)
        try:
            with self._told(bare):
                self._backend.delete(_key(bare))
        except FileNotFoundError:  # pragma: no cover  (some backends report it, S3 does not)
            return

    def artifacts(self) -> Iterator[Artifact]:
        """All artifacts, in the order of their digests."""
        found = (
            Artifact(key.replace("/", "")[len("objects") :], size) for key, size in self._list("objects")
        )
        yield from sorted(found)

    def resolve(self, name: str) -> str | None:
        """The digest a name points to."""
        return self._pointer(name)[0]

    def swap(self, name: str, old: str | None, new: str | None) -> bool:
        """Compare and swap by ETag. A name that points to nothing stays as an empty object: deletes know no conditions."""
        obstore = _obstore()
        wanted = b"" if new is None else check_digest(new).encode("ascii")
        digest, etag = self._pointer(name)
        if digest != (None if old is None else check_digest(old)):
            return False
        try:
            with self._told(name):
                self._backend.put(f"names/{name}", wanted, mode="create" if etag is None else {"e_tag": etag})
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
            return False
        return True

    def names(self) -> Iterator[tuple[str, str]]:
        """All names with their digests."""
        for key, size in sorted(self._list("names")):
            name = key.removeprefix("names/")
            if size and (digest := self.resolve(name)):
                yield name, digest

    def _pointer(self, name: str) -> tuple[str | None, str | None]:
        """The digest and the ETag of a name."""
        try:
            with self._told(None):
                found = self._backend.get(f"names/{check_name(name)}")
                text = bytes(found.bytes()) if found.meta["size"] <= _LONGEST_POINTER else b"not a digest"
        except FileNotFoundError:
            return None, None
        return (check_digest(text.decode("ascii", "replace")) if text else None), found.meta["e_tag"]

    def _create(self, key: str, data: bytes) -> None:
        try:
            self._backend.put(key, data, mode="create", use_multipart=False)
        except _obstore().exceptions.AlreadyExistsError:
            return  # by its key, it is the same

    def _there(self, artifact: Artifact) -> bool:
        try:
            found: int = self._backend.head(_key(artifact.digest))["size"]
        except FileNotFoundError:
            return False
        return found == artifact.size

    def _list(self, folder: str) -> Iterator[tuple[str, int]]:
        with self._told(None):
            for page in self._backend.list(folder):
                yield from ((entry["path"], entry["size"]) for entry in page)

    def _pieces(self, digest: str, stream: Any) -> Iterator[bytes]:
        with self._told(digest):
            for piece in stream:
                yield bytes(piece)

    @contextmanager
    def _told(self, digest: str | None) -> Iterator[None]:
        """Turn what obstore raises into our tree. A missing object stays `FileNotFoundError` where no digest is given."""
        errors = _obstore().exceptions
        try:
            yield
        except FileNotFoundError:
            if digest is None:
                raise
            raise missing(digest) from None
        except (errors.AlreadyExistsError, errors.PreconditionError):
            raise
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
            fix = "check the credentials and the policy of the bucket"
            raise AccessDenied(f"{self._where} refuses: {_first_line(error)}", fix=fix) from error
        except errors.BaseError as error:
            fix = (
                "check the endpoint, the bucket and the network; names need a bucket with conditional writes"
            )
            raise StoreUnavailable(f"{self._where} does not answer: {_first_line(error)}", fix=fix) from error


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise MissingExtra(
            "obstore", extra="objects", purpose="keeping artifacts in object storage"
        ) from error
    return obstore


def _spool(source: Source, spool: IO[bytes]) -> Artifact:
    found, size = hashlib.sha256(), 0
    for piece in chunks_of(source):
        found.update(piece)
        size += len(piece)
        spool.write(piece)
    spool.seek(0)
    return Artifact(found.hexdigest(), size)


def _key(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest[2:]}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
