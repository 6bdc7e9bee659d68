import os
import ssl

import pytest

from partita.errors import BadDocument, InsecureBind, NotFound
from partita.wire import Tls, check_bind, create_token, is_loopback, read_token, token_matches

TLS = Tls()


def test_a_new_token_is_long_and_its_owners_own(tmp_path):
    """256 bits, in a file only its owner reads; reading gives it back."""
    token = create_token(tmp_path / "new" / "token")

    assert len(token) >= 43
    assert (tmp_path / "new" / "token").stat().st_mode & 0o777 == 0o600
    assert read_token(tmp_path / "new" / "token") == token


def test_a_token_is_never_overwritten(tmp_path):
    """A file that is there, perhaps with wider rights, is not used."""
    (tmp_path / "token").write_text("mine")
    with pytest.raises(BadDocument, match="there already"):
        create_token(tmp_path / "token")


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("x" * 40, 0o644, "mode 644 lets others read it"),
        ("short", 0o600, "at least 16 characters"),
        ("two words and many more", 0o600, "one printable token"),
        ("ü" * 40, 0o600, "ascii"),
    ],
)
def test_bad_token_files(tmp_path, text, mode, problem):
    """A token file is refused for its rights or its content, in words."""
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(BadDocument, match=problem):
        read_token(path)


def test_a_missing_token_file(tmp_path):
    """It is named."""
    with pytest.raises(NotFound, match="nowhere"):
        read_token(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ("Bearer secret", True),
        ("bearer  secret", True),
        ("Bearer secre", False),
        ("Basic secret", False),
        ("secret", False),
        ("Bearer \udcff", False),
        (None, False),
    ],
)
def test_bearer_tokens(header, matches):
    """Only the whole token under the right scheme passes."""
    assert token_matches(header, "secret") is matches


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "")),
    ],
)
def test_loopback(host, inside):
    """Names and addresses that only this machine can reach."""
    assert is_loopback(host) is inside


@pytest.mark.parametrize(
    ("token", "tls", "missing"),
    [
        (
            None,
            None,
            ["neither token nor client certificates", "no TLS", "--token-file", "--tls-certificate"],
        ),
        ("t", None, ["no TLS", "--tls-certificate"]),
        (None, TLS, ["neither token", "--token-file"]),
    ],
)
def test_a_public_bind_is_refused(token, tls, missing):
    """Whatever is missing is named, with the command that brings it."""
    with pytest.raises(InsecureBind) as caught:
        check_bind("0.0.0.0", token=token, tls=tls)

    assert all(word in str(caught.value) for word in missing)


def test_binds_that_are_safe(tmp_path):
    """Loopback needs nothing; elsewhere a token or client certificates, and TLS, do."""
    check_bind("127.0.0.1", token=None, tls=None)
    check_bind("0.0.0.0", token="t", tls=TLS)
    check_bind("0.0.0.0", token=None, tls=Tls(ca=tmp_path / "ca.pem"))


def test_contexts_verify(tls):
    """A client verifies the server; a server with a CA asks for certificates, one without does not."""
    assert tls().client_context().verify_mode is ssl.CERT_REQUIRED
    assert tls().client_context().check_hostname
    assert tls("server").server_context().verify_mode is ssl.CERT_REQUIRED
    assert tls("server", ca=None).server_context().verify_mode is ssl.CERT_NONE


def test_missing_and_half_given_files(tmp_path):
    """All that is wrong with the files is said at once."""
    with pytest.raises(BadDocument) as caught:
        Tls(certificate=tmp_path / "no.pem", ca=tmp_path / "ca.pem").client_context()

    assert len(caught.value.problems) == 3


def test_a_server_needs_a_certificate():
    """It can not speak TLS without one."""
    with pytest.raises(BadDocument, match="a server needs one"):
        Tls().server_context()


@pytest.mark.parametrize("side", ["client_context", "server_context"])
def test_files_that_are_not_pem(tmp_path, side):
    """Something else in the files is refused in words."""
    for name in ("a.pem", "a.key"):
        (tmp_path / name).write_bytes(os.urandom(100))
    with pytest.raises(BadDocument, match="must be PEM"):
        getattr(Tls(tmp_path / "a.pem", tmp_path / "a.key"), side)()
