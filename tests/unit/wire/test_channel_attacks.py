"""Clients that mean harm, or are broken: each is let go, and the next one is served."""

import asyncio
import struct
import zlib
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed

from partita.testing.channel_suite import echo
from partita.wire import HubLimits, Settings, listen
from partita.wire.frame import Frame, FrameKind
from partita.wire.message import Close, Hello


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


def prefix(*fields):
    packed = struct.pack(">4sBBBBQIIQI", b"PRTA", *fields)
    return packed + struct.pack(">I", zlib.crc32(packed))


def start(seq, header):
    frame = Frame(FrameKind.START, 0, seq, True, len(header), 0, (header,), len(header))
    return b"".join(frame.encode())


HELLO = Hello(1, "ab" * 16, False, 0, {})
# What a client says first, if it greets at all, and the bytes that follow.
ATTACKS = {
    "not a frame": (None, b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100),
    "oversized before the greeting": (None, prefix(1, 2, 1, 1, 1, 10, 10, 2**62, 0)),
    "oversized": (HELLO, prefix(1, 2, 1, 0, 1, 10, 1 << 20, 2**40, 0)),
    "a hostile header": (HELLO, start(1, b"\x91\x91\x91")),
    "pickle": (HELLO, start(1, b"cos\nsystem\n(S'id'\ntR")),
    "a gap": (HELLO, start(9, b"abc")),
    "work instead of a greeting": (None, start(1, b"abc")),
    "an unknown session": (Hello(1, "cd" * 16, True, 5, {}), b""),
    "another version": (Hello(9, "cd" * 16, False, 0, {}), b""),
    "a large greeting": (None, prefix(1, 1, 0, 1, 0, 90_000, 90_000, 0, 0) + bytes(20_000)),
    "a goodbye for a greeting": (Close("done"), b""),
}


@pytest.mark.parametrize(("greeting", "rest"), ATTACKS.values(), ids=ATTACKS.keys())
def test_the_server_survives(run, is_served, session_bytes, greeting, rest):
    """Each attack is answered with a Close that says why, and the next client is served."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo) as server:
            said = await speak(server.port, (session_bytes(greeting) if greeting else b"") + rest)

            assert b"close" in said
            assert await is_served(server.url)

    run(main)


def test_a_truncated_frame_is_let_go(run, is_served, session_bytes):
    """A client that leaves in the middle of a frame leaves nothing behind but a session that waits."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo, settings=Settings(resume_timeout=0.2)) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /wire HTTP/1.1\r\nHost: x\r\n")
            writer.close()

            async with websocket(f"{server.url}/wire") as socket:
                await socket.send(
                    session_bytes(HELLO) + prefix(1, 2, 1, 0, 1, 10, 1 << 19, 1 << 20, 0) + bytes(1000)
                )
                await socket.recv(decode=False)
            assert await is_served(server.url)
            while server.hub.sessions:  # noqa: ASYNC110  # the hub counts, it does not announce
                await asyncio.sleep(0.02)

    run(main)


def test_a_silent_client_is_let_go(run, is_served):
    """Who connects and says nothing does not stay."""

    async def main():
        async with await listen("ws://127.0.0.1:0", echo, limits=HubLimits(greeting_seconds=0.05)) as server:
            async with websocket(f"{server.url}/wire") as socket:
                await socket.wait_closed()
            assert await is_served(server.url)

    run(main)


def test_websocket_messages_are_bounded(run, is_served):
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
