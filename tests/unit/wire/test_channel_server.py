"""The server: what it shares its port with, how much it takes on, where it may listen, how it ends."""

import asyncio

import pytest

from partita.errors import BadReference, ConnectionLost, InsecureBind, PortTaken
from partita.testing.channel_suite import echo
from partita.wire import Drop, HttpAnswer, HubLimits, Result, connect, listen

TOKEN = "a token of some length"


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


def test_sessions_are_bounded(run, is_served):
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


def test_a_handler_that_raises_ends_its_session_only(run, caplog, is_served):
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
