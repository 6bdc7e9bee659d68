import asyncio
from contextlib import asynccontextmanager, nullcontext

import pytest
import uvicorn

from partita.errors import AccessDenied, Unreachable
from partita.testing.channel_suite import ChannelSuite, echo
from partita.wire import Drop, Result, Settings, WireApp, connect

TOKEN = "a token of some length"


@asynccontextmanager
async def served(handler, settings, app=None):
    """Uvicorn with the wire at every path, on a free port."""
    wire = WireApp(handler, token=TOKEN, settings=settings)
    options = {"ws": "websockets-sansio", "ws_max_size": WireApp.MAX_MESSAGE, "ws_per_message_deflate": False}
    config = uvicorn.Config(
        app(wire) if app else wire,
        port=0,
        lifespan="off",
        log_level="critical",
        ws_ping_interval=None,
        **options,
    )
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # the test run's signals stay its own
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn offers a flag and no event
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await wire.close()
        server.should_exit = True
        await task


class TestUvicorn(ChannelSuite):
    """The contract holds on a REST server's port."""

    @asynccontextmanager
    async def carrier(self, handler, settings):
        async with served(handler, settings) as port:
            yield lambda: connect(f"ws://127.0.0.1:{port}", token=TOKEN, settings=settings)


def test_a_wrong_token_is_refused(run):
    """Before the WebSocket opens, and the server goes on."""

    async def main():
        async with served(echo, Settings()) as port:
            with pytest.raises(AccessDenied, match="token"):
                await connect(f"ws://127.0.0.1:{port}", token="another token")
            good = await connect(f"ws://127.0.0.1:{port}", token=TOKEN)
            await good.send(Drop(1, "p"))

            assert (await good.receive())[0] == Result(1)
            await good.close()

    run(main)


def test_plain_http_is_told_to_upgrade(run):
    """An HTTP request to the wire gets 426, not a stack trace."""

    async def main():
        async with served(echo, Settings()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()

        assert answer.startswith(b"HTTP/1.1 426")

    run(main)


def test_another_application_is_not_the_wire(run):
    """A REST app that does not know the path is told apart from a wrong token."""

    async def nothing(scope, receive, send):
        await receive()
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    async def main():
        async with served(echo, Settings(), app=lambda wire: nothing) as port:
            with pytest.raises(Unreachable, match="HTTP server answers"):
                await connect(f"ws://127.0.0.1:{port}", token=TOKEN)

    run(main)
