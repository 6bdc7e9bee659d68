"""A length and the bytes, over asyncio's StreamReader and StreamWriter: what the others are measured by."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from .certs import tls_of

HEAD = 9


async def read_array(reader: asyncio.StreamReader) -> tuple[int, np.ndarray]:
    head = await reader.readexactly(HEAD)
    return head[0], np.frombuffer(await reader.readexactly(int.from_bytes(head[1:])), np.float32)


async def write_array(writer: asyncio.StreamWriter, kind: int, array: np.ndarray) -> None:
    writer.write(bytes([kind]) + array.nbytes.to_bytes(8))
    writer.write(memoryview(array).cast("B"))
    await writer.drain()


class Streams:
    """A length and the bytes, over asyncio's StreamReader and StreamWriter with their default limits."""

    @staticmethod
    async def serve(folder: Path | None) -> int:
        async def handler(reader, writer):
            try:
                while True:
                    kind, array = await read_array(reader)
                    if kind == 0:
                        await write_array(writer, 0, array)
                    elif kind == 2:
                        await write_array(writer, 0, array[:0])
            except asyncio.IncompleteReadError:
                writer.close()

        tls = tls_of(folder, "server")
        server = await asyncio.start_server(
            handler, "127.0.0.1", 0, ssl=tls.server_context() if tls else None
        )
        Streams.keep = server
        return server.sockets[0].getsockname()[1]

    async def open(self, port: int, folder: Path | None) -> None:
        tls = tls_of(folder, "client")
        context = tls.client_context() if tls else None
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)

    async def echo(self, array: np.ndarray) -> None:
        await write_array(self.writer, 0, array)
        await read_array(self.reader)

    async def push(self, array: np.ndarray, count: int) -> None:
        for _ in range(count):
            await write_array(self.writer, 1, array)
        await write_array(self.writer, 2, array[:1])
        await read_array(self.reader)

    async def close(self) -> None:
        self.writer.close()
