"""Why a dial failed, told apart: nobody there, someone else there, or someone there who does not let us in.

One rule: each way to fail has its own sentence and its own way out; what is not known is said as it came.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from ..errors import AccessDenied, PartitaError, Unreachable
from .access import Tls
from .certificate import certificate_fault

__all__ = ["refusal"]

# OpenSSL's X509_V_ERR_* numbers, as SSLCertVerificationError.verify_code gives them.
_CERTIFICATE: Final = {
    9: ("is not valid yet", "set this machine's clock, or issue the server a new certificate"),
    10: ("has expired", "issue the server a new certificate and restart it"),
    18: (
        "is signed by itself, not by a CA that is trusted here",
        "give the CA file that the server's certificate is from: --tls-ca ca.pem",
    ),
    19: (
        "comes from a CA that is not trusted here",
        "give the CA file that the server's certificate is from: --tls-ca ca.pem",
    ),
    20: (
        "comes from a CA that is not known here",
        "give the CA file that the server's certificate is from: --tls-ca ca.pem",
    ),
    21: (
        "comes from a CA that is not known here",
        "give the CA file that the server's certificate is from: --tls-ca ca.pem",
    ),
    62: ("is for another host name", "use a name in the certificate, or issue one for this host"),
    64: ("is for another address", "use a name in the certificate, or issue one for this address"),
}
# Alerts that a server sends about the client's certificate, as they appear in OpenSSL's reason.
_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": (
        "asks for a client certificate and got none",
        "give certificate and key of this client: --tls-certificate and --tls-key",
    ),
    "HANDSHAKE_FAILURE": (
        "asks for a client certificate and got none",
        "give certificate and key of this client: --tls-certificate and --tls-key",
    ),
    "CERTIFICATE_EXPIRED": (
        "says that this client's certificate has expired",
        "issue this client a new certificate",
    ),
    "UNKNOWN_CA": (
        "does not know the CA of this client's certificate",
        "issue the client's certificate from the server's CA",
    ),
    "BAD_CERTIFICATE": (
        "refuses this client's certificate",
        "issue the client's certificate from the server's CA",
    ),
}


def refusal(url: str, error: BaseException, tls: Tls | None = None) -> PartitaError:
    """The error of ours that tells why dialling ``url`` failed with ``error``."""
    where = urlsplit(url).netloc.rpartition("@")[2]
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            what, fix = _CERTIFICATE.get(
                cause.verify_code, (f"is refused: {cause.verify_message}", "check it")
            )
            return AccessDenied(f"{where}: the server's certificate {what}", fix=fix)
        if isinstance(cause, ssl.SSLError):
            return _tls(where, cause)
    if urlsplit(url).scheme == "wss" and (unsaid := _unsaid(where, error, tls or Tls())) is not None:
        return unsaid
    for cause in _causes(error):
        if (known := _network(where, cause) or _http(where, cause)) is not None:
            return known
    if urlsplit(url).scheme == "ws" and type(error).__name__ == "InvalidMessage":
        return Unreachable(
            f"{where}: what answers there speaks no HTTP",
            fix="use wss:// if it speaks TLS; else check the port",
        )
    return Unreachable(
        f"{where}: {type(error).__name__}: {error}",
        fix="check the address; another kind of server may answer there",
    )


def _unsaid(where: str, error: BaseException, tls: Tls) -> PartitaError | None:
    """TLS that ends without a word, which is how asyncio's servers refuse: what this side can see for itself."""
    if any(isinstance(cause, EOFError) for cause in _causes(error)):
        fault = certificate_fault(tls)
        what, fix = fault or (
            "is refused",
            "issue it from the CA the server trusts; the server's log says more",
        )
        return AccessDenied(
            f"{where}: the server ended the connection; this client's certificate {what}", fix=fix
        )
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return Unreachable(
            f"{where}: the connection ended within the TLS handshake; the server may speak no TLS there",
            fix="use ws:// for a server without TLS, or correct the port",
        )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 8:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1


def _tls(where: str, error: ssl.SSLError) -> PartitaError:
    reason = (getattr(error, "reason", None) or str(error)).upper()
    for alert, (what, fix) in _ALERTS.items():
        if alert in reason:
            return AccessDenied(f"{where}: the server {what}", fix=fix)
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason:
        return Unreachable(
            f"{where}: the server does not speak TLS there", fix="use ws:// or the server's TLS port"
        )
    return Unreachable(
        f"{where}: the TLS handshake failed ({reason})", fix="check certificates and TLS on both sides"
    )


def _network(where: str, error: BaseException) -> PartitaError | None:
    if isinstance(error, socket.gaierror):
        return Unreachable(f"{where}: the host name is not known", fix="correct the name, or use the address")
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"{where}: nobody listens there", fix="start the server, or correct host and port")
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{where}: no answer in time", fix="check host, port and firewall between here and there"
        )
    if isinstance(error, OSError) and error.__class__ is OSError:
        return Unreachable(
            f"{where}: {error.strerror or error}", fix="check host and port, and this machine's network"
        )
    return None


def _http(where: str, error: BaseException) -> PartitaError | None:
    from websockets.exceptions import InvalidStatus, InvalidUpgrade

    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in (401, 403):
            return AccessDenied(
                f"{where}: the token is {'wrong' if status == 403 else 'missing or wrong'} (HTTP {status})",
                fix="give the token the server was started with; it is in the server's token file",
            )
        return Unreachable(
            f"{where}: an HTTP server answers there (status {status}), but not a Partita wire at this path",
            fix="correct the port, or the path: it ends with /wire",
        )
    if isinstance(error, InvalidUpgrade):
        return Unreachable(
            f"{where}: an HTTP server answers there that knows no WebSocket", fix="correct the port"
        )
    return None
