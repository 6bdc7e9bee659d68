"""gRPC: one bidirectional stream of bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class Grpc:
    """grpc.aio with generic handlers and bytes, one bidirectional stream; no message limits."""

    OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

    @staticmethod
    async def serve(folder: Path | None) -> int:
        import grpc

        async def stream(request_iterator, _context):
            async for data in request_iterator:
                if data[:1] == b"\0":
                    yield data
                elif data[:1] == b"\2":
                    yield b""

        server = grpc.aio.server(options=Grpc.OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(stream)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("bench.Wire", {"Run": handler}),)
        )
        if folder:
            pair = (folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes()
            credentials = grpc.ssl_server_credentials([pair], (folder / "ca.pem").read_bytes(), True)
            port = server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        Grpc.keep = server
        return port

    async def open(self, port: int, folder: Path | None) -> None:
        import grpc

        if folder:
            files = [(folder / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
            credentials = grpc.ssl_channel_credentials(*files)
            self.channel = grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=self.OPTIONS)
        else:
            self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=self.OPTIONS)
        self.call = self.channel.stream_stream("/bench.Wire/Run")()

    async def echo(self, array: np.ndarray) -> None:
        await self.call.write(b"\0" + array.tobytes())
        np.frombuffer(await self.call.read(), np.float32, offset=1)

    async def push(self, array: np.ndarray, count: int) -> None:
        for _ in range(count):
            await self.call.write(b"\1" + array.tobytes())
        await self.call.write(b"\2")
        await self.call.read()

    async def close(self) -> None:
        self.call.cancel()
        await self.channel.close()
