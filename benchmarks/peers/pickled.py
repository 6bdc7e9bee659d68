"""Pickled blocking sockets: concatenated pickles with markers in between, searched for in a growing buffer."""

from __future__ import annotations

import pickle
import socket
import ssl
import threading
from pathlib import Path

import numpy as np

from .certs import tls_of

END = b"end of feature"


def pickled_send(sock: socket.socket, kind: int, array: np.ndarray) -> None:
    sock.sendall(b"head" + pickle.dumps(kind) + b"tensor" + pickle.dumps(array) + END)


def pickled_receive(sock: socket.socket, rest: bytes) -> tuple[int, np.ndarray, bytes]:
    while END not in rest:
        more = sock.recv(65536)
        if not more:
            raise EOFError
        rest += more
    message, rest = rest.split(END, 1)
    head, tensor = message[4:].split(b"tensor", 1)
    return pickle.loads(head), pickle.loads(tensor), rest


class Pickled:
    """Blocking sockets, pickles, markers."""

    @staticmethod
    async def serve(folder: Path | None) -> int:
        door = socket.create_server(("127.0.0.1", 0))

        def loop() -> None:
            while True:
                sock, _ = door.accept()
                threading.Thread(target=answer, args=(sock,), daemon=True).start()

        def answer(sock: socket.socket) -> None:
            context = tls_of(folder, "server")
            sock = context.server_context().wrap_socket(sock, server_side=True) if context else sock
            rest = b""
            try:
                while True:
                    kind, array, rest = pickled_receive(sock, rest)
                    if kind != 1:
                        pickled_send(sock, 0, array if kind == 0 else array[:0])
            except (EOFError, OSError, ssl.SSLError):
                sock.close()

        threading.Thread(target=loop, daemon=True).start()
        return door.getsockname()[1]

    async def open(self, port: int, folder: Path | None) -> None:
        sock = socket.create_connection(("127.0.0.1", port))
        tls = tls_of(folder, "client")
        self.sock = tls.client_context().wrap_socket(sock, server_hostname="127.0.0.1") if tls else sock
        self.rest = b""

    async def echo(self, array: np.ndarray) -> None:
        pickled_send(self.sock, 0, array)
        _, _, self.rest = pickled_receive(self.sock, self.rest)

    async def push(self, array: np.ndarray, count: int) -> None:
        for _ in range(count):
            pickled_send(self.sock, 1, array)
        pickled_send(self.sock, 2, array[:1])
        _, _, self.rest = pickled_receive(self.sock, self.rest)

    async def close(self) -> None:
        self.sock.close()
