import asyncio
import socket
import ssl
import struct
import zlib
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed

from partita.errors import AccessDenied, BadReference, ConnectionLost, InsecureBind, PortTaken, Unreachable
from partita.testing.channel_suite import echo
from partita.wire import Drop, HttpAnswer, HubLimits, Result, Settings, connect, listen
from partita.wire.channel_refusal import refusal
from partita.wire.frame import Frame, FrameKind
from partita.wire.message import SESSION, Hello

TOKEN = "a token of some length"


async def is_served(url, **options):
    """A good client gets its answer."""
    good = await connect(url, **options)
    await good.send(Drop(1, "p"))
    answer, _ = await good.receive()
    await good.close()
    return answer == Result(1)


async def speak(port, data):
    """What the wire answers to a WebSocket client that sends these bytes and then listens."""
    said = b""
    async with websocket(f"ws://127.0.0.1:{port}/wire", compression=None) as socket:
        try:
            await socket.send(data)
            async with asyncio.timeout(2):
                while True:
                    said += await socket.recv(decode=False)
        except ConnectionClosed:
            return said


def session_frame(message):
    header = SESSION.encode(message)
    return b"".join(Frame(FrameKind.SESSION, 0, 0, True, len(header), 0, (header,), len(header)).encode())


def prefix(*fields):
    packed = struct.pack(">4sBBBBQIIQI", b"PRTA", *fields)
    return packed + struct.pack(">I", zlib.crc32(packed))


HELLO = session_frame(Hello(1, "ab" * 16, False, 0, {}))
ATTACKS = {
    "not a frame": b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100,
    "oversized before the greeting": prefix(1, 2, 1, 1, 1, 10, 10, 2**62, 0),
    "oversized": HELLO + prefix(1, 2, 1, 0, 1, 10, 1 << 20, 2**40, 0),
    "a hostile header": HELLO
    + b"".join(Frame(FrameKind.START, 0, 1, True, 3, 0, (b"\x91\x91\x91",), 3).encode()),
    "pickle": HELLO
    + b"".join(Frame(FrameKind.START, 0, 1, True, 20, 0, (b"cos\nsystem\n(S'id'\ntR",), 20).encode()),
    "a gap": HELLO + b"".join(Frame(FrameKind.START, 0, 9, True, 3, 0, (b"abc",), 3).encode()),
    "work instead of a greeting": b"".join(Frame(FrameKind.START, 0, 1, True, 3, 0, (b"abc",), 3).encode()),
    "an unknown session": session_frame(Hello(1, "cd" * 16, True, 5, {})),
    "another version": session_frame(Hello(9, "cd" * 16, False, 0, {})),
    "a large greeting": prefix(1, 1, 0, 1, 0, 90_000, 90_000, 0, 0) + bytes(20_000),
    "a goodbye for a greeting": session_frame(SESSION.kinds[6]("done")),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_server_survives(run, attack):
    """Each attack is answered with a Close that says why, and the next client is served."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo) as server:
            said = await speak(server.port, attack)

            assert b"close" in said
            assert await is_served(server.url)

    run(main)


def test_a_truncated_frame_is_let_go(run):
    """A client that leaves in the middle of a frame leaves nothing behind but a session that waits."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo, settings=Settings(resume_timeout=0.2)) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /wire HTTP/1.1\r\nHost: x\r\n")
            writer.close()

            async with websocket(f"{server.url}/wire") as socket:
                await socket.send(HELLO + prefix(1, 2, 1, 0, 1, 10, 1 << 19, 1 << 20, 0) + bytes(1000))
                await socket.recv(decode=False)
            assert await is_served(server.url)
            while server.hub.sessions:  # noqa: ASYNC110  # the hub counts, it does not announce
                await asyncio.sleep(0.02)

    run(main)


def test_a_silent_client_is_let_go(run):
    """Who connects and says nothing does not stay."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo, limits=HubLimits(greeting_seconds=0.05)) as server:
            async with websocket(f"{server.url}/wire") as socket:
                await socket.wait_closed()
            assert await is_served(server.url)

    run(main)


def test_websocket_messages_are_bounded(run):
    """A WebSocket message beyond the largest chunk is refused by the carrier itself."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo) as server:
            socket = await websocket(f"{server.url}/wire", compression=None)
            with suppress(ConnectionClosed):
                await socket.send(bytes(5 << 20))
            await socket.wait_closed()
            assert socket.close_code in (1006, 1009)  # 1006 where the reset overtakes the close frame
            assert await is_served(server.url)

    run(main)


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x"])
def test_a_wrong_token_is_refused(run, token):
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
def test_certificates_are_told_apart(run, tls, server, client, sentence):
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


def test_another_protocol(run):
    """So is a server of another kind altogether."""

    async def answer(_, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        await writer.drain()
        writer.close()

    async def main():
        other = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="another kind of server"):
            await connect(f"ws://127.0.0.1:{port}")
        other.close()
        await other.wait_closed()

    run(main)


async def http_get(port, path, *headers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_http_shares_the_port(run):
    """Health is open, other paths go to the handler behind the token, the rest is 404."""

    def pages(path, headers):
        return HttpAnswer(b"hello " + headers["Host"].encode()) if path == "/hello?x=1" else None

    async def main():
        server = await listen("ws://127.0.0.1:0", echo, token=TOKEN, http_handler=pages)
        bearer = f"Authorization: Bearer {TOKEN}"

        assert (await http_get(server.port, "/healthz")).endswith(b"\r\n\r\nok\n")
        assert b" 401 " in await http_get(server.port, "/hello?x=1")
        assert b" 401 " in await http_get(server.port, "/hello?x=1", bearer, bearer)
        assert (await http_get(server.port, "/hello?x=1", bearer)).endswith(b"hello x")
        assert b" 404 " in await http_get(server.port, "/nothing", bearer)
        await server.close()

    run(main)


def test_sessions_are_bounded(run):
    """One too many is told that the server is busy; when one leaves there is room again."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo, limits=HubLimits(max_sessions=1)) as server:
            first = await connect(server.url)
            with pytest.raises(ConnectionLost, match=r"busy.*limit"):
                await connect(server.url)
            await first.close()
            while server.hub.sessions:  # noqa: ASYNC110  # the hub counts, it does not announce
                await asyncio.sleep(0.01)

            assert await is_served(server.url)

    run(main)


def test_held_bytes_are_bounded(run):
    """So is a server that already holds too much for others."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo, limits=HubLimits(max_bytes=-1)) as server:
            with pytest.raises(ConnectionLost, match=r"busy.*bytes are held"):
                await connect(server.url)

    run(main)


def test_a_handler_that_raises_ends_its_session_only(run, caplog):
    """The client learns that it failed and not why; the log has the rest; others are served."""

    async def handler(connection):
        async for message, _ in connection:
            if message == Drop(13, "p"):
                raise ZeroDivisionError("secret detail")
            await connection.send(Result(1))

    async def main():
        async with await listen("ws://127.0.0.1:0", handler) as server:
            bad = await connect(server.url)
            await bad.send(Drop(13, "p"))
            with pytest.raises(ConnectionLost, match="internal") as caught:
                await bad.receive()

            assert "secret" not in str(caught.value)
            assert "secret detail" in caplog.text
            assert await is_served(server.url)

    run(main)


def test_a_port_in_use_is_told_so(run):
    """Two servers on one port: the second names it."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo) as server:
            with pytest.raises(PortTaken, match=f"port {server.port} on 127.0.0.1 is in use"):
                await listen(server.url, echo)

    run(main)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1", BadReference),
        ("ws://127.0.0.1", BadReference),
        ("wss://127.0.0.1:0", BadReference),
        ("ws://0.0.0.0:0", InsecureBind),
        ("ws://192.0.2.1:0", InsecureBind),
    ],
)
def test_urls_that_can_not_be_served(run, url, error):
    """A wrong or an unsafe URL is refused before anything listens."""

    async def main():
        with pytest.raises(error):
            await listen(url, echo)

    run(main)


def test_an_address_of_another_machine(run, tls):
    """Binding an address that is not here names it."""

    async def main():
        with pytest.raises(PortTaken, match=r"192\.0\.2\.1"):
            await listen("wss://192.0.2.1:0", echo, token=TOKEN, tls=tls("server", ca=None))

    run(main)


def test_stopping_the_server_tells_its_clients(run):
    """A client of a stopped server learns it at once."""

    async def main():
        server = await listen("ws://127.0.0.1:0", echo)
        client = await connect(server.url)
        await server.close()
        with pytest.raises(ConnectionLost, match="server-stopped"):
            await client.receive()
        await client.close()

    run(main)
