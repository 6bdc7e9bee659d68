from pathlib import Path
from typing import Any

from partita.wire import read_token


def test_a_token_file_is_made_for_its_owner_only(partita: Any, tmp_path: Path) -> None:
    """The token can be read back, and a second one is never written over it."""
    assert partita("certs", "token", "t").code == 0
    token = read_token(tmp_path / "t")
    again = partita("certs", "token", "t")

    assert again.code == 2
    assert "fix: " in again.err
    assert read_token(tmp_path / "t") == token


def test_an_authority_issues_servers_and_clients(partita: Any, tmp_path: Path) -> None:
    """With --host a server's certificate, without one a client's."""
    assert partita("certs", "init", "c").code == 0
    server = partita("certs", "issue", "c", "server", "--host", "localhost", "--json").document
    client = partita("certs", "issue", "c", "edge", "--json").document

    assert (server["kind"], client["kind"]) == ("server", "client")
    assert Path(tmp_path / server["certificate"]).is_file()
    assert Path(tmp_path / client["key"]).stat().st_mode & 0o077 == 0


def test_a_certificate_needs_an_authority(partita: Any) -> None:
    """The way out is the command that makes one."""
    outcome = partita("certs", "issue", "nowhere", "server")

    assert outcome.code == 2
    assert "partita certs init" in outcome.err
