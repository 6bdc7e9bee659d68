"""The store in a bucket: the contract against an S3 server and in memory, and the errors of a network."""

from __future__ import annotations

import itertools
import socket
import sys
import urllib.request

import pytest
from obstore.exceptions import PermissionDeniedError
from obstore.store import MemoryStore

from partita.errors import AccessDenied, BadDocument, MissingExtra, NotFound, StoreUnavailable
from partita.store import ObjectStore
from partita.testing.store_suite import LARGE, StoreSuite

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "aws_region": "us-east-1"}
_numbers = itertools.count()


def new_bucket(endpoint: str) -> str:
    name = f"bucket-{next(_numbers)}"
    request = urllib.request.Request(
        f"{endpoint}/{name}", method="PUT", headers={"Authorization": "AWS test:test"}
    )
    with urllib.request.urlopen(request):
        return name


def key(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest[2:]}"


class TestMemory(StoreSuite):
    """The contract, on obstore's store in memory."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        return ObjectStore(MemoryStore())

    def spoil(self, store: ObjectStore, digest: str, data: bytes) -> None:
        store._backend.put(key(digest), data)


class TestS3(StoreSuite):
    """The contract, over HTTP against an S3 server."""

    @pytest.fixture
    def store(self, s3_server: str) -> ObjectStore:
        return ObjectStore.at(f"s3://{new_bucket(s3_server)}/some/prefix", endpoint=s3_server, options=KEYS)

    def spoil(self, store: ObjectStore, digest: str, data: bytes) -> None:
        store._backend.put(key(digest), data)


def test_a_large_artifact_goes_up_once(s3_server: str) -> None:
    """In parts, and not again while it is there."""
    store = ObjectStore.at(f"s3://{new_bucket(s3_server)}", endpoint=s3_server, options=KEYS)

    digest = store.put(LARGE).digest
    first = store._backend.head(key(digest))
    store.put(LARGE)

    assert "-" in first["e_tag"]  # the mark of an upload in parts
    assert first["last_modified"] == store._backend.head(key(digest))["last_modified"]


def test_two_prefixes_of_a_bucket_are_two_stores(s3_server: str) -> None:
    """Nothing is seen across them."""
    bucket = new_bucket(s3_server)
    one, two = (
        ObjectStore.at(f"s3://{bucket}/{p}", endpoint=s3_server, options=KEYS) for p in ("one", "two")
    )

    digest = one.put(b"data").digest

    with pytest.raises(NotFound):
        two.stat(digest)


def test_a_bucket_that_is_not_there_is_an_error_of_the_tree(s3_server: str) -> None:
    """Writing says so; the next step is in the message."""
    store = ObjectStore.at("s3://no-such-bucket", endpoint=s3_server, options=KEYS)

    with pytest.raises((NotFound, StoreUnavailable)) as caught:
        store.put(b"data")
    assert caught.value.fix


def test_an_endpoint_that_does_not_answer_is_unavailable() -> None:
    """After its retries, and with the reason."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = ObjectStore.at("s3://bucket", endpoint=endpoint, options=KEYS)

        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.put(b"data")


@pytest.mark.parametrize(("url", "options"), [("gopher://x", {}), ("s3://bucket", {"no_such_option": "1"})])
def test_a_url_or_option_that_nobody_knows_is_refused(url: str, options: dict[str, str]) -> None:
    """At opening, not at the first write."""
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        ObjectStore.at(url, options=options)


def test_an_object_under_a_name_that_is_no_pointer_is_refused() -> None:
    """Whatever somebody else put there is not read as a digest."""
    backend = MemoryStore()
    backend.put("names/odd", b"x" * 1000)

    with pytest.raises(BadDocument, match="SHA-256"):
        ObjectStore(backend).resolve("odd")


def test_without_obstore_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is optional."""
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(MissingExtra) as caught:
        ObjectStore.at("s3://bucket")
    assert "partita[objects]" in caught.value.fix


def test_a_refusal_of_the_bucket_is_access_denied() -> None:
    """Credentials are somebody's business, not the network's."""

    class Refusing:
        def head(self, path: str) -> object:
            raise PermissionDeniedError(f"no rights for {path}\nand a long story")

    with pytest.raises(AccessDenied, match="refuses: no rights for objects/") as caught:
        ObjectStore(Refusing(), where="s3://vault").stat("0" * 64)
    assert "story" not in caught.value.problem
