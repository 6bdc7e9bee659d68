"""A slow link on purpose, in user space: a TCP proxy that limits rate, adds delay and jitter, and stalls as loss does.

Three rules. The queue is small and bounded, as a router's is, so that the sender feels the rate and not our memory.
Loss is what TCP makes of it: bytes arrive late and in order, after a retransmission, never wrong and never twice. The
shape can change and the link can be cut while bytes flow.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, final

from .shape import LinkShape

__all__ = ["ShapedLink"]

# A full Ethernet payload of TCP: loss is drawn per packet.
_PACKET: Final = 1448
# What one turn moves at most, and for how long at most: on a slow link less, down to a packet. Who measures the rate at
# the other end would otherwise count what came with the last of one piece as if it had taken no time.
_PIECE: Final = 8 << 10
_PIECE_SECONDS: Final = 0.003
# A home router's queue: what may stand in front of the link itself.
_QUEUE_BYTES: Final = 64 << 10
# TCP notices a loss after about a round trip, and after at least this when there is too little traffic to notice it by.
_LEAST_STALL: Final = 0.01
# A timer that fires late may make up for this much of the lost time, and no more: beyond it would be a burst.
_CATCH_UP: Final = 0.02


@final
@dataclass(slots=True)
class Meter:
    """When the next bytes may pass: a medium that is busy until a moment in time."""

    free_at: float = 0.0
    late: float = 0.0

    def pass_through(self, size: int, rate: float, now: float) -> float:
        """The moment at which ``size`` bytes have passed at ``rate`` bit/s."""
        # Only the lateness of the last timer is made up for: an idle link saves nothing up for a burst.
        self.free_at = max(self.free_at, now - self.late) + size * 8 / rate
        return self.free_at

    def woke(self, due: float, now: float) -> None:
        """A timer that was due then fired now."""
        self.late = min(max(0.0, now - due), _CATCH_UP)


@final
class ShapedLink:
    """A proxy to ``host:port`` with the manners of a link; use it with ``async with`` and dial ``link.port``."""

    def __init__(self, host: str, port: int, shape: LinkShape, *, seed: int = 0) -> None:
        self._target = (host, port)
        self.shape = shape
        self._random = random.Random(seed)  # noqa: S311  # for jitter, not for secrets
        self._up, self._down = Meter(), Meter()
        self._server: asyncio.Server | None = None
        self._flows: set[asyncio.Task[None]] = set()
        self._cut = False
        self.port = 0
        self.bytes_up = self.bytes_down = 0

    async def __aenter__(self) -> Self:
        door = _small_socket()
        door.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=door, limit=_PIECE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._break_all()
        await asyncio.gather(*self._flows, return_exceptions=True)

    def set(self, shape: LinkShape) -> None:
        """Change the manners of the link while it is in use."""
        self.shape = shape

    def cut(self) -> None:
        """Break all connections and let none through until `restore`."""
        self._cut = True
        self._break_all()

    def restore(self) -> None:
        """Let connections through again."""
        self._cut = False

    def _break_all(self) -> None:
        for flow in self._flows:
            flow.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._cut:
            writer.transport.abort()
            return
        self._flows.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection(sock=await self._connected(), limit=_PIECE)
            for each in (writer, far):
                each.transport.set_write_buffer_limits(high=_PIECE)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, far, up=True))
                group.create_task(self._carry(far_reader, writer, up=False))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            # Whatever breaks a flow, both of its ends learn of it by a broken connection.
            pass
        finally:
            self._flows.discard(task)
            writer.transport.abort()
            if far is not None:
                far.transport.abort()

    async def _connected(self) -> socket.socket:
        far = _small_socket()
        far.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(far, self._target)
        except BaseException:
            far.close()
            raise
        return far

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        """One direction: read, wait for the medium, fly for half a round trip, arrive."""
        loop = asyncio.get_running_loop()
        flight: _Flight = _Flight()
        landing = loop.create_task(self._land(flight, writer))
        try:
            while data := await reader.read(self._piece(up=up)):
                await flight.room()
                medium = self._medium(up=up)
                done = medium.pass_through(len(data), self._rate(up=up), loop.time())
                await _sleep_until(done)
                medium.woke(done, loop.time())
                if up:
                    self.bytes_up += len(data)
                else:
                    self.bytes_down += len(data)
                flight.launch(data, done + self._delay(len(data)))
            flight.launch(b"", loop.time() + self.shape.rtt / 2)
            await landing
        finally:
            landing.cancel()

    async def _land(self, flight: _Flight, writer: asyncio.StreamWriter) -> None:
        while True:
            data, when = await flight.next()
            await _sleep_until(when)
            if not data:
                with suppress(OSError):
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            flight.landed(len(data))

    def _medium(self, *, up: bool) -> Meter:
        return self._up if up or self.shape.half_duplex else self._down

    def _rate(self, *, up: bool) -> float:
        if self.shape.half_duplex:
            return min(self.shape.up, self.shape.down)
        return self.shape.up if up else self.shape.down

    def _piece(self, *, up: bool) -> int:
        return max(_PACKET, int(min(_PIECE, self._rate(up=up) / 8 * _PIECE_SECONDS)))

    def _delay(self, size: int) -> float:
        shape = self.shape
        delay = shape.rtt / 2 + self._random.uniform(0, shape.jitter)
        packets = -(-size // _PACKET)
        if shape.loss and self._random.random() > (1 - shape.loss) ** packets:
            delay += max(shape.rtt, _LEAST_STALL)
        return delay


@final
class _Flight:
    """Bytes under way in one direction, in order: nothing arrives before what was sent before it."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[bytes, float]] = deque()
        self._bytes = 0
        self._last = 0.0
        self._changed = asyncio.Event()

    def launch(self, data: bytes, arrives: float) -> None:
        """Send bytes off; they arrive not before their predecessors."""
        self._last = max(self._last, arrives)
        self._under_way.append((data, self._last))
        self._bytes += len(data)
        self._changed.set()

    async def next(self) -> tuple[bytes, float]:
        """The bytes that arrive next, and when."""
        while not self._under_way:
            await self._wait()
        return self._under_way.popleft()

    def landed(self, size: int) -> None:
        """They have arrived."""
        self._bytes -= size
        self._changed.set()

    async def room(self) -> None:
        """Wait while too much is under way: a receiver that does not read must be felt by the sender."""
        while self._bytes > _QUEUE_BYTES + self._in_the_air():
            await self._wait()

    def _in_the_air(self) -> int:
        # What the delay itself holds is not a queue; a 1 Gbit/s link of 100 ms holds 12 MB.
        now = asyncio.get_running_loop().time()
        return sum(len(data) for data, arrives in self._under_way if arrives > now)

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _small_socket() -> socket.socket:
    # The kernel's own buffers grow to megabytes on loopback; they would be a queue that no router has.
    # With the protocol named, asyncio turns off Nagle: TCP would else hold small frames back for an ack, up to 40 ms.
    small = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        small.setsockopt(socket.SOL_SOCKET, option, _QUEUE_BYTES)
    # Loopback's segments of 64 KB would not fit such buffers, and TCP would wait for its timers between them.
    small.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _PACKET)
    return small


async def _sleep_until(when: float) -> None:
    delay = when - asyncio.get_running_loop().time()
    if delay > 0:
        await asyncio.sleep(delay)
