"""Signed manifests: which files belong together, what they contain, and who says so (Ed25519).

    {"version": 1, "key": "<key id>", "files": {"model.onnx": {"sha256": "...", "size": 123}}, "signature": "<base64>"}

Three rules. The signature covers the canonical bytes (sorted keys, no spaces, ASCII) of all that stands before it.
A manifest is believed only under a key that the reader already trusts; the key id in it merely says which one.
A name that would lead out of its folder is refused before and after signing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, final

import msgspec

from ..errors import AccessDenied, BadDocument, CorruptArtifact, NotFound
from .base import Artifact, chunks_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["Manifest", "SigningKey", "TrustedKey", "describe_files", "verify_files", "verify_manifest"]

# A manifest of 10,000 files has about 1.3 MB.
MAX_MANIFEST = 4 << 20
_LONGEST_PATH = 512


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    size: int


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    key: str
    files: dict[str, _Entry]
    signature: str


@final
@dataclass(frozen=True, slots=True)
class Manifest:
    """Files by their relative names, in order."""

    files: Mapping[str, Artifact]


@final
class TrustedKey:
    """A public key that signatures are believed under."""

    def __init__(self, public: Ed25519PublicKey) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._public = public
        self._raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """The first 16 hexadecimal digits of the key's SHA-256: enough to choose by, not to trust."""
        return hashlib.sha256(self._raw).hexdigest()[:16]

    @classmethod
    def load(cls, path: Path) -> TrustedKey:
        """Read a public key in PEM."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        key = _load(path, load_pem_public_key)
        if not isinstance(key, Ed25519PublicKey):
            raise _not_a_key(path, "public")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key in PEM."""
        path.write_bytes(self._pem)

    def check(self, signature: bytes, data: bytes) -> bool:
        """Whether the owner of the key signed these bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@final
class SigningKey:
    """A private key. It is written once, readable by its owner alone, and never over another."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def create(cls, path: Path) -> SigningKey:
        """Make a key and write it to a new file with mode 0600."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            fix = "load it, or choose another path: what it signed could not be renewed"
            raise BadDocument(f"key file {path}", ["is there already"], fix=fix) from None
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        return cls(private)

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key; one that others can read is refused."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = _load(path, lambda data: load_pem_private_key(data, password=None))
        if path.stat().st_mode & 0o077:
            raise AccessDenied(
                f"key file {path} can be read by others", fix=f"chmod 600 {path}, or make a new key"
            )
        if not isinstance(key, Ed25519PrivateKey):
            raise _not_a_key(path, "private")
        return cls(key)

    @property
    def public(self) -> TrustedKey:
        """The key that others verify with."""
        return TrustedKey(self._private.public_key())

    def sign(self, manifest: Manifest) -> bytes:
        """The manifest as a signed JSON document."""
        document = _content(self.public.key_id, manifest)
        signature = base64.b64encode(self._private.sign(_canonical(document))).decode("ascii")
        return _canonical({**document, "signature": signature}) + b"\n"


def describe_files(folder: Path, names: Iterable[str] | None = None) -> Manifest:
    """Digest and size of the named files, or of all files under the folder."""
    chosen = sorted(names) if names is not None else sorted(_walk(folder))
    return Manifest({name: _measure(_inside(folder, name)) for name in chosen})


def verify_manifest(data: bytes, trusted: Iterable[TrustedKey]) -> Manifest:
    """The manifest, if one of the trusted keys signed exactly this; `AccessDenied` otherwise."""
    if len(data) > MAX_MANIFEST:
        fix = "sign fewer files in one manifest"
        raise BadDocument("manifest", [f"has {len(data)} bytes, and {MAX_MANIFEST} are read"], fix=fix)
    try:
        document = msgspec.json.decode(data, type=_Document)
        signature = base64.b64decode(document.signature, validate=True)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise BadDocument(
            "manifest", [str(error)], fix="sign it again with this version of partita"
        ) from error
    manifest = Manifest({name: Artifact(e.sha256, e.size) for name, e in sorted(document.files.items())})
    if document.version != 1:
        raise BadDocument("manifest", [f"version {document.version} is not 1"], fix="update partita")
    key = next((key for key in trusted if key.key_id == document.key), None)
    if key is None:
        fix = "add the signer's public key to the trusted ones, if you trust it"
        raise AccessDenied(
            f"manifest is signed by key {document.key[:40]!r}, which is not trusted here", fix=fix
        )
    if not key.check(signature, _canonical(_content(document.key, manifest))):
        fix = "get the manifest again from its signer: it was changed after signing"
        raise AccessDenied(f"manifest: the signature of key {document.key} does not fit its content", fix=fix)
    for name in manifest.files:
        _check_path(name)
    return manifest


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare all files with the manifest: all that are missing or changed are named in one `CorruptArtifact`."""
    wrong = []
    for name, artifact in manifest.files.items():
        path = _inside(folder, name)
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif (size := path.stat().st_size) != artifact.size:
            wrong.append(f"{name} has {size} bytes instead of {artifact.size}")
        elif _measure(path) != artifact:
            wrong.append(f"{name} is not sha256:{artifact.digest}")
    if wrong:
        raise CorruptArtifact(
            f"files in {folder}: {'; '.join(wrong)}", fix="fetch them again from where they were signed"
        )


def _content(key_id: str, manifest: Manifest) -> dict[str, Any]:
    files = {_check_path(name): {"sha256": a.digest, "size": a.size} for name, a in manifest.files.items()}
    return {"version": 1, "key": key_id, "files": files}


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _check_path(name: str) -> str:
    path = PurePosixPath(name)
    odd = "\\" in name or ":" in name or not name.isprintable() or len(name) > _LONGEST_PATH
    if odd or path.is_absolute() or not path.parts or ".." in path.parts or str(path) != name:
        raise BadDocument(
            "manifest",
            [f"file name {name[:80]!r} does not stay in its folder"],
            fix="use relative names without ..",
        )
    return name


def _inside(folder: Path, name: str) -> Path:
    """The file of a checked name; a link on the way may not lead out of the folder."""
    path = folder / _check_path(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BadDocument(
            "manifest", [f"file {name!r} leads out of {folder}"], fix="replace the link by the file"
        )
    return path


def _walk(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _measure(path: Path) -> Artifact:
    found, size = hashlib.sha256(), 0
    for piece in chunks_of(path):
        found.update(piece)
        size += len(piece)
    return Artifact(found.hexdigest(), size)


def _load(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"key file {path} is not there", fix="create a key first") from error
    except (ValueError, TypeError) as error:
        raise BadDocument(
            f"key file {path}", [str(error)], fix="give an unencrypted Ed25519 key in PEM"
        ) from error


def _not_a_key(path: Path, kind: str) -> BadDocument:
    return BadDocument(f"key file {path}", [f"holds no Ed25519 {kind} key"], fix="give an Ed25519 key in PEM")
