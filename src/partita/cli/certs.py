"""`partita certs`: tokens and certificates, so that an edge can be let in without trusting the network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from .. import wire
from ..wire import create_token
from .render import PLAIN, Screen

app = App(name="certs", help="Make tokens and certificates for edge and cloud.", default_parameter=PLAIN)


@app.command
def token(path: Path = Path("token"), *, json: bool = False) -> int:
    """Make a token file that only you can read. Copy it to the edge by a safe way.

    Parameters
    ----------
    path
        The file to write; it must not exist.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    create_token(path)
    screen.say(f"{path} holds a new token. Use it on both sides with --token-file {path}")
    screen.result({"token_file": str(path)})
    return 0


@app.command
def init(folder: Path = Path("certs"), *, json: bool = False) -> int:
    """Make a certificate authority of your own in a folder.

    Parameters
    ----------
    folder
        Where its key and certificate go.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    authority = wire.init_ca(folder)
    screen.say(f"{folder} holds a new authority. Next: partita certs issue {folder} server --host HOSTNAME")
    screen.result({"ca": str(authority.certificate)})
    return 0


@app.command
def issue(folder: Path, name: str, *, host: tuple[str, ...] = (), json: bool = False) -> int:
    """Make a certificate, signed by the authority in a folder: for a server with --host, for a client without.

    Parameters
    ----------
    folder
        The folder that `partita certs init` made.
    name
        What to call it: NAME.pem and NAME.key are written there.
    host
        A name or address by which clients reach the server; may be given several times.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    kind: Literal["server", "client"] = "server" if host else "client"
    files = wire.issue(folder, name, hosts=host, purpose=kind)
    screen.say(f"{files.certificate} is a {kind} certificate, {files.key} its key")
    screen.result({"certificate": str(files.certificate), "key": str(files.key), "kind": kind})
    return 0
