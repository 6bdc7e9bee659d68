"""Certificates for a small fleet: one CA of its own, and short-lived certificates for its servers and clients.

Three rules. Keys are P-256 and rest in files only their owner reads. A CA signs servers and clients, never other CAs.
Names say where a server may be reached: a host name or an address, both as subject alternative names.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ..errors import BadDocument, NotFound
from .access import Tls

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Issued", "certificate_fault", "init_ca", "issue"]

_CA_DAYS: Final = 3650
# Browsers and Apple's platforms refuse server certificates of more than 398 days; ours keep to that.
_DAYS: Final = 397
# A clock that is a few minutes late must not find a new certificate "not yet valid".
_EARLY: Final = datetime.timedelta(minutes=10)
_PURPOSES: Final = ("server", "client")


@dataclass(frozen=True, slots=True)
class Issued:
    """The files of one certificate, and of the CA that signed it."""

    certificate: Path
    key: Path
    ca: Path

    def tls(self) -> Tls:
        """Both ends' settings: show this certificate, and trust the CA."""
        return Tls(self.certificate, self.key, self.ca)


def init_ca(folder: Path, *, name: str = "Partita CA", days: int = _CA_DAYS) -> Issued:
    """A new CA in ``folder``: ca.pem and ca.key; never over one that is there."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    issued = Issued(folder / "ca.pem", folder / "ca.key", folder / "ca.pem")
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = (
        _builder(subject, subject, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    _write(issued, _signed(builder, key), key)
    return issued


def issue(
    folder: Path,
    name: str,
    *,
    hosts: Sequence[str] = (),
    purpose: Literal["server", "client"] = "server",
    days: int = _DAYS,
) -> Issued:
    """A certificate signed by the CA in ``folder``: NAME.pem and NAME.key beside it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    _check(name, hosts, purpose)
    ca, ca_key = _load_ca(folder)
    issued = Issued(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    use = ExtendedKeyUsageOID.SERVER_AUTH if purpose == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(_subject(name), ca.subject, key, days, signer=ca_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    )
    names: list[x509.GeneralName] = [_alternative(host) for host in hosts or (name,)]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write(issued, _signed(builder, ca_key), key)
    return issued


def certificate_fault(tls: Tls) -> tuple[str, str] | None:
    """What is wrong with the certificate this side shows, as far as it can see: (what, way out), or None."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    if tls.certificate is None:
        return "is missing, and it may ask for one", "give certificate and key of this client"
    shown = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    if shown.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
        return f"has expired on {shown.not_valid_after_utc:%Y-%m-%d}", "issue this client a new certificate"
    if tls.ca is not None:
        authority = x509.load_pem_x509_certificate(tls.ca.read_bytes())
        try:
            shown.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            return (
                f"is not from the CA in {tls.ca.name}",
                "issue the client's certificate from the server's CA",
            )
    return None


def _check(name: str, hosts: Sequence[str], purpose: str) -> None:
    problems = []
    if not name or name == "ca" or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        problems.append(f"name: {name!r} is not letters, digits, '-', '_' and '.', or is the CA's own")
    if purpose not in _PURPOSES:
        problems.append(f"purpose: {purpose!r} is not one of {', '.join(_PURPOSES)}")
    problems += [
        f"host: {host!r} is not a host name or address" for host in hosts if not host.isascii() or not host
    ]
    if problems:
        raise BadDocument(
            "certificate", problems, fix="partita certs issue FOLDER edge-1 --host edge-1.example.org"
        )


def _subject(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.DNSName | x509.IPAddress:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    days: int,
    *,
    signer: EllipticCurvePrivateKey | None = None,
) -> x509.CertificateBuilder:
    from cryptography import x509

    # Wall clock on purpose: validity is a matter of dates, not of elapsed time.
    now = datetime.datetime.now(datetime.UTC)
    # A negative number of days makes one that has already expired, for those who test refusals.
    end = now + datetime.timedelta(days=days)
    start = min(now, end) - _EARLY
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key((signer or key).public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority, critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _write(issued: Issued, certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization

    taken = [str(path) for path in (issued.certificate, issued.key) if path.exists()]
    if taken:
        raise BadDocument(
            "certificate", [f"{path} is there already" for path in taken], fix="move it away first"
        )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    handle = os.open(issued.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _load_ca(folder: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key: Any = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename} is not there", fix=f"partita certs init {folder}") from None
    except ValueError as error:
        raise BadDocument(
            f"CA in {folder}", [str(error)], fix="restore ca.pem and ca.key, or make a new CA"
        ) from error
    return certificate, key
