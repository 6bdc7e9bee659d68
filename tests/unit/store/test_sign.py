"""Signed manifests: who is believed, what is refused, and that nothing leads out of its folder."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import AccessDenied, BadDocument, CorruptArtifact, NotFound
from partita.store import (
    Artifact,
    Manifest,
    SigningKey,
    TrustedKey,
    describe_files,
    verify_files,
    verify_manifest,
)

OUTSIDE = [
    "../x",
    "/etc/passwd",
    "a/../../x",
    "a//b",
    "./a",
    "",
    ".",
    "a\\b",
    "C:x",
    "a\x00b",
    "a/",
    "x" * 600,
]


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "key.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    (root / "deep").mkdir(parents=True)
    (root / "model.onnx").write_bytes(b"weights" * 1000)
    (root / "deep" / "recipe.json").write_text("{}")
    return root


def forge(key: SigningKey, **changes: object) -> bytes:
    """A manifest with a true signature over whatever it says."""
    document = {"version": 1, "key": key.public.key_id, "files": {}} | changes
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps(
        document | {"signature": base64.b64encode(key._private.sign(canonical)).decode()}
    ).encode()


def test_a_signed_folder_is_believed_by_those_who_trust_the_key(key: SigningKey, folder: Path) -> None:
    """Sign, load the public key elsewhere, verify the manifest and every file."""
    key.public.save(folder.parent / "public.pem")
    signed = key.sign(describe_files(folder))

    manifest = verify_manifest(signed, [TrustedKey.load(folder.parent / "public.pem")])

    assert list(manifest.files) == ["deep/recipe.json", "model.onnx"]
    verify_files(folder, manifest)


def test_signing_is_canonical(key: SigningKey) -> None:
    """The order in which files were named does not change a byte."""
    a, b = Artifact("0" * 64, 1), Artifact("1" * 64, 2)

    assert key.sign(Manifest({"a": a, "b": b})) == key.sign(Manifest({"b": b, "a": a}))


def test_a_private_key_is_readable_by_its_owner_alone(key: SigningKey, tmp_path: Path) -> None:
    """Created with 0600, and refused once others can read it."""
    path = tmp_path / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).public.key_id == key.public.key_id

    path.chmod(0o644)

    with pytest.raises(AccessDenied, match=r"chmod 600|read by others"):
        SigningKey.load(path)


def test_a_key_is_never_written_over_another(key: SigningKey, tmp_path: Path) -> None:
    """What the old one signed could not be renewed."""
    with pytest.raises(BadDocument, match="there already"):
        SigningKey.create(tmp_path / "key.pem")


@pytest.mark.parametrize("load", [SigningKey.load, TrustedKey.load])
def test_files_that_hold_no_such_key_are_refused(load: object, tmp_path: Path) -> None:
    """Missing, garbage, and keys of another kind."""
    other = X25519PrivateKey.generate()
    pem, raw = serialization.Encoding.PEM, serialization.NoEncryption()
    private = other.private_bytes(pem, serialization.PrivateFormat.PKCS8, raw)
    public = other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    path = tmp_path / "other.pem"

    with pytest.raises(NotFound, match="other"):
        load(path)  # type: ignore[operator]  # parametrized functions are objects here
    path.touch(mode=0o600)
    for content in (b"garbage", private if load == SigningKey.load else public):
        path.write_bytes(content)
        with pytest.raises(BadDocument, match="other"):
            load(path)  # type: ignore[operator]  # the same


def test_a_signature_of_a_stranger_is_not_believed(key: SigningKey, tmp_path: Path) -> None:
    """The key id in the manifest says which key, not that it is trusted."""
    stranger = SigningKey.create(tmp_path / "stranger.pem")
    signed = stranger.sign(Manifest({}))

    with pytest.raises(AccessDenied, match="not trusted here"):
        verify_manifest(signed, [key.public])
    with pytest.raises(AccessDenied, match="does not fit"):
        verify_manifest(
            signed.replace(stranger.public.key_id.encode(), key.public.key_id.encode()), [key.public]
        )


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_no_changed_byte_is_believed(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    """The document is refused, or it is another spelling of the same content."""
    key = SigningKey.create(tmp_path_factory.mktemp("k") / "key.pem")
    manifest = Manifest({"model": Artifact("ab" * 32, 7)})
    signed = bytearray(key.sign(manifest))
    signed[at % len(signed)] = value

    try:
        found = verify_manifest(bytes(signed), [key.public])
    except (AccessDenied, BadDocument):
        return
    assert found == manifest


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused_before_and_after_signing(
    key: SigningKey, folder: Path, name: str
) -> None:
    """Even a trusted signer may not write elsewhere."""
    entry = {"sha256": "0" * 64, "size": 0}

    with pytest.raises(BadDocument, match="stay in its folder"):
        key.sign(Manifest({name: Artifact("0" * 64, 0)}))
    with pytest.raises(BadDocument, match="stay in its folder"):
        verify_manifest(forge(key, files={name: entry}), [key.public])
    with pytest.raises(BadDocument, match="stay in its folder"):
        describe_files(folder, [name])


def test_a_link_that_leads_out_is_refused(folder: Path) -> None:
    """The name is good, the way is not."""
    (folder / "link").symlink_to(folder.parent)

    with pytest.raises(BadDocument, match="leads out"):
        verify_files(folder, Manifest({"link/key.pem": Artifact("0" * 64, 0)}))


def test_all_wrong_files_are_named_at_once(folder: Path) -> None:
    """Missing, shortened and changed."""
    (folder / "third").write_bytes(b"123")
    manifest = describe_files(folder)
    (folder / "deep" / "recipe.json").unlink()
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "third").write_bytes(b"124")

    with pytest.raises(
        CorruptArtifact, match=r"recipe.json is missing; model.onnx has 7 bytes.*; third is not sha256"
    ):
        verify_files(folder, manifest)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 2}, "version 2"),
        ({"files": []}, "files"),
        ({"extra": 1}, "extra"),
        ({"files": {"a": {"sha256": "0", "size": "1"}}}, "size"),
    ],
)
def test_documents_that_are_no_manifests_are_refused(
    key: SigningKey, changes: dict[str, object], problem: str
) -> None:
    """The field is named."""
    with pytest.raises(BadDocument, match=problem):
        verify_manifest(forge(key, **changes), [key.public])


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", bytes(5 << 20), b'{"signature": "*"}'])
def test_bytes_that_are_no_document_are_refused(key: SigningKey, data: bytes) -> None:
    """Too many of them unread."""
    with pytest.raises(BadDocument, match="manifest"):
        verify_manifest(data, [key.public])
