"""Who may come in: tokens, TLS, and the rule that a public address is never open to everyone.

Three rules. A token is compared in constant time and rests in a file only its owner reads. TLS verifies by default; with
a CA on the server side, clients must show a certificate of it. An address that others can reach needs a token and TLS,
or it is refused with the command that sets it right.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from ..errors import BadDocument, InsecureBind, NotFound

__all__ = ["Tls", "check_bind", "create_token", "is_loopback", "read_token", "token_matches"]

# 256 random bits, as GitHub's and Jupyter's tokens have or exceed.
_TOKEN_BYTES: Final = 32
_SHORTEST_TOKEN: Final = 16


def create_token(path: Path) -> str:
    """A new token in a new file that only its owner can read."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_EXCL: never a file that someone else put there with wider rights.
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadDocument(
            f"token file {path}", ["it is there already"], fix="use it, delete it, or choose another name"
        ) from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token


def read_token(path: Path) -> str:
    """The token in a file; files that others can read are refused."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise NotFound(f"token file {path} is not there", fix=f"partita certs token {path}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise BadDocument(f"token file {path}", [str(error)], fix="create a new one") from error
    problems = []
    if mode & 0o077:
        problems.append(f"mode {mode & 0o777:o} lets others read it; it must be 600")
    if len(text) < _SHORTEST_TOKEN or not text.isprintable() or " " in text:
        problems.append(f"it must hold one printable token of at least {_SHORTEST_TOKEN} characters")
    if problems:
        raise BadDocument(f"token file {path}", problems, fix=f"chmod 600 {path}, or create a new one")
    return text


def token_matches(authorization: str | None, token: str) -> bool:
    """Whether an HTTP Authorization header carries this token; takes the same time for every wrong one."""
    scheme, _, given = (authorization or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    return same and scheme.lower() == "bearer"


@final
@dataclass(frozen=True, slots=True)
class Tls:
    """Files of one side: its own certificate and key, and the CA by which it judges the other side."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    def client_context(self) -> ssl.SSLContext:
        """Verifies the server by ``ca`` (the system's CAs without one); shows the certificate if there is one."""
        self._check()
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except (ssl.SSLError, OSError) as error:
            raise self._unreadable(error) from error
        return context

    def server_context(self) -> ssl.SSLContext:
        """Shows the certificate; with ``ca``, clients must show one of it (mTLS)."""
        self._check()
        if self.certificate is None:
            raise BadDocument("tls", ["certificate: a server needs one"], fix="partita certs issue server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.ca:
                context.load_verify_locations(self.ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, OSError) as error:
            raise self._unreadable(error) from error
        return context

    def _check(self) -> None:
        named = {"certificate": self.certificate, "key": self.key, "ca": self.ca}
        problems = [
            f"{name}: {path} is not there" for name, path in named.items() if path and not path.is_file()
        ]
        if (self.certificate is None) != (self.key is None):
            problems.append("certificate and key: give both or none")
        if problems:
            raise BadDocument("tls", problems, fix="partita certs init; partita certs issue NAME")

    def _unreadable(self, error: Exception) -> BadDocument:
        files = ", ".join(str(path) for path in (self.certificate, self.key, self.ca) if path)
        return BadDocument(
            "tls", [f"{files}: {error}"], fix="they must be PEM, and the key must fit the certificate"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(
    host: str,
    *,
    token: str | None,
    tls: Tls | None,
    port: int = 7700,
    command: str = "partita run-parts MODEL",
) -> None:
    """Refuse an address that others can reach without a token or client certificates, or without TLS."""
    if is_loopback(host):
        return
    missing, steps = [], []
    options = [f"--listen {host}:{port}", "--token-file token"]
    if token is None and (tls is None or tls.ca is None):
        missing.append("neither token nor client certificates")
        steps.append("partita certs token token")
    if tls is None:
        missing.append("no TLS")
        steps += ["partita certs init certs", "partita certs issue certs server --host NAME_OF_THIS_MACHINE"]
    if missing:
        options.append("--tls-certificate certs/server.pem --tls-key certs/server.key")
        raise InsecureBind(
            f"host {host}: others can reach this address, and it has {' and '.join(missing)}",
            fix=f"{' && '.join([*steps, ' '.join([command, *options])])}; or bind 127.0.0.1",
        )
