"""Certificates once per run: one fleet's CA, what it issued, and strangers."""

import asyncio

import pytest

from partita.wire import Tls, init_ca, issue


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    """A folder with a CA, a server, a client, and certificates that have expired."""
    folder = tmp_path_factory.mktemp("fleet")
    init_ca(folder)
    issue(folder, "server", hosts=["127.0.0.1", "localhost"])
    issue(folder, "client", purpose="client")
    issue(folder, "old-server", hosts=["127.0.0.1"], days=-2)
    issue(folder, "old-client", purpose="client", days=-2)
    issue(folder, "elsewhere", hosts=["example.org"])
    stranger = tmp_path_factory.mktemp("stranger")
    init_ca(stranger)
    issue(stranger, "client", purpose="client")
    (folder / "stranger.pem").write_bytes((stranger / "client.pem").read_bytes())
    (folder / "stranger.key").write_bytes((stranger / "client.key").read_bytes())
    (folder / "other-ca.pem").write_bytes((stranger / "ca.pem").read_bytes())
    return folder


@pytest.fixture
def tls(fleet):
    """TLS settings by the name of a certificate (None shows none), with or without trust in the fleet's CA."""

    def make(name=None, ca="ca.pem"):
        shown = (fleet / f"{name}.pem", fleet / f"{name}.key") if name else (None, None)
        return Tls(*shown, fleet / ca if ca else None)

    return make


@pytest.fixture
def run():
    """Run a coroutine function in a loop of its own, with a bound on its patience."""

    def runner(main, *args, seconds=20):
        async def bounded():
            async with asyncio.timeout(seconds):
                return await main(*args)

        return asyncio.run(bounded())

    return runner
