"""A connection as the rest of the house sees it: send messages with tensors, receive them, close.

`Connection` is the contract of every carrier (in-process, WebSocket, ASGI); `Pipe` is all that a carrier has to bring:
ordered bytes that may end at any moment. Two rules. A connection outlives its pipes: when one ends, the session resumes
on the next. What is sent is given away: an array must not change until it has been acknowledged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .codec import parse_codec
from .codec_head import Encoded
from .message import Buffer, Message
from .meter import LinkEstimate

__all__ = ["Connection", "Delivery", "Pipe", "PipeEnded", "Stats", "Tensors", "encoded_tensors"]

Tensors = Mapping[str, NDArray[Any] | Encoded]
Delivery = tuple[Message, dict[str, Encoded]]


@dataclass(frozen=True, slots=True)
class Stats:
    """Bytes so far: on the wire (frames of all kinds, repeated ones too) and of tensors, each way; resumptions."""

    sent_wire: int = 0
    sent_payload: int = 0
    received_wire: int = 0
    received_payload: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    resumed: int = 0


class Connection(Protocol):
    """One conversation with one other side."""

    @property
    def session_id(self) -> str:
        """The name of the session, the same on both sides and over reconnections."""
        ...

    @property
    def stats(self) -> Stats:
        """What has passed so far."""
        ...

    def link(self) -> LinkEstimate:
        """Bytes per second each way and the round trip, as measured by the traffic."""
        ...

    async def send(
        self, message: Message, tensors: Tensors | None = None, *, channel: int | None = None
    ) -> None:
        """Send a message; arrays travel raw, `Encoded` ones as they are. Waits while too much is queued."""
        ...

    def waiting(self) -> list[Message]:
        """The messages of which nothing has left yet, those of each channel in their order."""
        ...

    def withdraw(self, message: Message) -> bool:
        """Take back a message of which nothing has left yet; False where that is too late."""
        ...

    async def receive(self) -> Delivery:
        """The next message and its tensors, still encoded: `decode(tensors["x"])`. Its errors end the connection."""
        ...

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """Every message until the other side closes the session in good order."""
        ...

    async def measure(self, size: int = 256 << 10) -> LinkEstimate:
        """Send and ask back ``size`` bytes, and say what the link can do."""
        ...

    async def close(self, code: str = "done", reason: str = "") -> None:
        """Finish sending, say goodbye, let go of everything."""
        ...

    async def __aenter__(self) -> Self:
        """``async with`` closes the connection at its end."""
        ...

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        ...


class PipeEnded(Exception):
    """The pipe is over; ``str`` of it says how. It never leaves this folder: it becomes a resumption or an error."""


class Pipe(Protocol):
    """Ordered bytes in both directions, without any borders, until it ends."""

    async def read(self) -> Buffer:
        """Some bytes, at least one; raises `PipeEnded`."""
        ...

    async def write(self, buffers: Sequence[Buffer]) -> None:
        """Write these bytes one after the other, and wait while the pipe is full; raises `PipeEnded`."""
        ...

    async def close(self) -> None:
        """End it; whoever reads or writes learns of it. Never raises."""
        ...


_RAW = parse_codec("raw")


def encoded_tensors(tensors: Tensors | None) -> dict[str, Encoded]:
    """Arrays become raw tensors, encoded ones stay as they are."""
    return {
        name: tensor if isinstance(tensor, Encoded) else _RAW.encode(np.asarray(tensor))
        for name, tensor in (tensors or {}).items()
    }
