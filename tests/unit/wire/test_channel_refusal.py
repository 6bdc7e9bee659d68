"""Connections that do not come about: each reason has its own sentence."""

import asyncio
import socket
import ssl

import pytest

from partita.errors import AccessDenied, Unreachable
from partita.testing.channel_suite import echo
from partita.wire import connect, listen
from partita.wire.channel_refusal import refusal

TOKEN = "a token of some length"


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x"])
def test_a_wrong_token_is_refused(run, token, is_served):
    """Before anything else is looked at; the right one is let in."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo, token=TOKEN) as server:
            with pytest.raises(AccessDenied, match="token"):
                await connect(server.url, token=token)

            assert await is_served(server.url, token=TOKEN)

    run(main)


@pytest.mark.parametrize(
    ("server", "client", "sentence"),
    [
        (("old-server", None), (None, "ca.pem"), "server's certificate has expired"),
        (("server", None), (None, None), "CA that is not"),
        (("server", None), (None, "other-ca.pem"), "CA that is not known"),
        (("elsewhere", None), (None, "ca.pem"), "certificate is for another"),
        (("server", "ca.pem"), (None, "ca.pem"), "client's certificate is missing"),
        (("server", "ca.pem"), ("old-client", "ca.pem"), "client's certificate has expired on 20"),
        (("server", "ca.pem"), ("stranger", "ca.pem"), "client's certificate is not from the CA in ca.pem"),
    ],
)
def test_certificates_are_told_apart(run, tls, server, client, sentence, is_served):
    """Each fault of a certificate has its own sentence, and the server goes on."""

    async def main():
        async with await listen("wss://127.0.0.1:0", echo, tls=tls(*server)) as listener:
            with pytest.raises(AccessDenied, match=sentence) as caught:
                await connect(listener.url, tls=tls(*client))

            assert caught.value.fix
            if server[0] == "server":
                assert await is_served(listener.url, tls=tls("client"))

    run(main)


def test_tls_against_plain_is_told_so(run, tls):
    """wss:// to a ws:// port says that the server speaks no TLS there."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo) as server:
            with pytest.raises(Unreachable, match="may speak no TLS"):
                await connect(server.url.replace("ws://", "wss://"), tls=tls())

    run(main)


def test_plain_against_tls_is_told_so(run, tls):
    """ws:// to a wss:// port is not a riddle either."""

    async def main():
        async with await listen("wss://127.0.0.1:0", echo, tls=tls("server", ca=None)) as server:
            with pytest.raises(Unreachable):
                await connect(server.url.replace("wss://", "ws://"))

    run(main)


def test_nobody_there(run):
    """A closed port says that nobody listens."""

    async def main():
        server = await listen("ws://127.0.0.1:0", echo)
        await server.close()
        with pytest.raises(Unreachable, match="nobody listens"):
            await connect(server.url)

    run(main)


@pytest.mark.parametrize("status", [b"404 Not Found", b"200 OK"])
def test_another_http_server(run, status):
    """An HTTP server that is not ours is told apart from nobody and from a refusal."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main():
        other = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="HTTP server answers"):
            await connect(f"ws://127.0.0.1:{port}")
        other.close()
        await other.wait_closed()

    run(main)


def test_another_protocol(run):
    """So is a server of another kind altogether."""

    async def answer(_, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        await writer.drain()
        writer.close()

    async def main():
        other = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="speaks no HTTP"):
            await connect(f"ws://127.0.0.1:{port}")
        other.close()
        await other.wait_closed()

    run(main)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (socket.gaierror(-2, "unknown"), Unreachable, "host name is not known"),
        (TimeoutError(), Unreachable, "no answer in time"),
        (OSError(113, "No route to host"), Unreachable, "No route to host"),
        (
            ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] x"),
            AccessDenied,
            "asks for a client certificate",
        ),
        (
            ssl.SSLError(1, "[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] x"),
            AccessDenied,
            "certificate has expired",
        ),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x"), Unreachable, "does not speak TLS"),
        (ssl.SSLError(1, "[SSL: SOMETHING_ELSE] x"), Unreachable, "SOMETHING_ELSE"),
    ],
)
def test_each_failure_has_its_sentence(error, kind, text):
    """What the network or TLS says is translated, with the address and a way out."""
    told = refusal("wss://edge.example.org:7077", error)

    assert type(told) is kind
    assert text in told.problem
    assert "edge.example.org:7077" in told.problem
    assert told.fix
