"""Where a peer finds its certificates."""

from __future__ import annotations

from pathlib import Path

from partita.wire import Tls


def tls_of(folder: Path | None, name: str) -> Tls | None:
    return Tls(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem") if folder else None
