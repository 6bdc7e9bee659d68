"""The wire as it is, with default settings."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from partita.wire import Drop, Forward, Result, connect, decode, listen

from .certs import tls_of


class Ours:
    """The wire as it is, with default settings."""

    @staticmethod
    async def serve(folder: Path | None) -> int:
        async def handler(connection):
            count, first, last, begun = 0, 0.0, 0.0, 0
            async for message, tensors in connection:
                if isinstance(message, Forward) and message.part == "echo":
                    await connection.send(Result(message.request), tensors)
                elif isinstance(message, Forward):
                    array = decode(tensors["x"])
                    last = time.perf_counter()
                    if not count:
                        first, begun = last, array.nbytes
                    count += array.nbytes
                else:
                    told = np.array([count - begun, last - first])
                    await connection.send(
                        Result(message.request), {"told": told} if message.request else None
                    )
                    if message.request:
                        count = 0

        server = await listen(
            f"{'wss' if folder else 'ws'}://127.0.0.1:0", handler, tls=tls_of(folder, "server")
        )
        return server.port

    async def open(self, port: int, folder: Path | None) -> None:
        scheme = "wss" if folder else "ws"
        self.connection = await connect(f"{scheme}://127.0.0.1:{port}", tls=tls_of(folder, "client"))

    async def echo(self, array: np.ndarray) -> None:
        await self.connection.send(Forward(0, "echo"), {"x": array})
        _, tensors = await self.connection.receive()
        assert decode(tensors["x"]).nbytes == array.nbytes

    async def push(self, array: np.ndarray, count: int) -> None:
        for _ in range(count):
            await self.connection.send(Forward(0, "push"), {"x": array}, channel=1)
        await self.connection.send(Forward(0, "push"), {"x": array[:1]}, channel=1)
        await self.connection.send(Drop(1, "push"), channel=1)
        await self.connection.receive()

    async def close(self) -> None:
        await self.connection.close()
