"""The options of whoever connects or listens: a token, certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from ..wire import Connection, Tls, connect, read_token


@Parameter(name="*")
@dataclass(frozen=True)
class AccessOptions:
    """Who may talk to whom.

    Parameters
    ----------
    token_file
        The file with the token that both sides share.
    tls_ca
        The authority that signed the other side's certificate.
    tls_certificate
        This side's certificate.
    tls_key
        The key of this side's certificate.
    """

    token_file: Path | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def token(self) -> str | None:
        """The token, if a file was given."""
        return read_token(self.token_file) if self.token_file is not None else None

    def tls(self) -> Tls | None:
        """The TLS files, if any were given."""
        if self.tls_ca is None and self.tls_certificate is None and self.tls_key is None:
            return None
        return Tls(self.tls_certificate, self.tls_key, self.tls_ca)


@asynccontextmanager
async def connect_to(url: str, access: AccessOptions) -> AsyncIterator[Connection]:
    """A connection that is closed with its block."""
    connection = await connect(url, token=access.token(), tls=access.tls())
    try:
        yield connection
    finally:
        await connection.close()
