"""A visitor of a training cloud: its connection, its room, and the work that is being done for it.

Rules: its work is done one message after the other; whoever lets it go waits for what is being computed, so that two
rooms never write to the folder of one run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import final

from ..errors import PartitaError, SessionMisused
from ..wire import Connection, Encoded, Failed, Message, decode, encode
from .messages import Begin, Begun, Commit, Prepare, Recall, Save, Slopes
from .room import Answer, Room

_SHORT = "int8"


@final
class Visitor:
    """One connection and its room. `key` is the public name of its run."""

    def __init__(self, connection: Connection, room: Room) -> None:
        self.room = room
        self.key = ""
        self.taken_over = False
        self.connection = connection
        self._job: asyncio.Future[Answer] | None = None
        self._sent: deque[Answer] = deque()

    async def work(self, workers: Executor, message: Message, tensors: Mapping[str, Encoded]) -> Answer:
        """Have a message answered by a worker."""
        if self.taken_over:
            raise SessionMisused("this visit is over", fix="open another connection")
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(workers, self.room.answer, message, tensors)
        # Shielded: a thread that computes is not stopped by whoever stops waiting for it.
        return await asyncio.shield(self._job)

    async def send(self, answer: Message, values: Mapping[str, Encoded]) -> None:
        """Send an answer, and remember gradients for as long as nothing of them has left."""
        await self.connection.send(answer, values)
        waiting = {id(message) for message in self.connection.waiting()}
        while self._sent and id(self._sent[0][0]) not in waiting:
            self._sent.popleft()
        if isinstance(answer, Slopes) and id(answer) in waiting:
            self._sent.append((answer, values))

    async def hasten(self, workers: Executor) -> None:
        """Gradients that wait to leave are taken back and said in fewer bytes."""
        found = [each for each in self._sent if self.connection.withdraw(each[0])]
        self._sent.clear()
        loop = asyncio.get_running_loop()
        for answer, values in found:
            await self.connection.send(answer, await loop.run_in_executor(workers, shortened, values))

    async def give_up(self, why: str) -> None:
        """End this visit from outside: wait for what is being computed, free the room, tell the other side why."""
        self.taken_over = True
        await self._settled()
        self.room.end(why)
        self._goodbye = asyncio.create_task(self.connection.close("taken-over", why))

    def end(self, why: str) -> None:
        """Free the room, as soon as nothing is computed in it."""
        if self._job is None or self._job.done():
            self.room.end(why)
        else:
            self._job.add_done_callback(lambda _: self.room.end(why))

    async def _settled(self) -> None:
        if self._job is not None:
            with suppress(asyncio.CancelledError, PartitaError):
                await asyncio.wait([self._job])


def shortened(values: Mapping[str, Encoded]) -> dict[str, Encoded]:
    """Tensors in fewer bytes; those that are short already, or that a memory knows, as they are."""
    plain = {n: v for n, v in values.items() if v.head.codec == "raw" and v.head.dtype.startswith("float")}
    return dict(values) | {name: encode(decode(value), _SHORT) for name, value in plain.items()}


def told(message: Message, answer: Message, room: Room) -> str:
    """What a message and its answer mean for whoever watches; empty where it is nothing new. No secrets."""
    if isinstance(answer, Failed):
        return f"{type(message).__name__.lower()} failed: {answer.problem[:500]}"
    match message:
        case Begin() if isinstance(answer, Begun):
            model = "known here" if answer.known else "to be sent"
            return f"begins run {room.key[:8]} of {message.model[:80]!r} ({message.digest[:19]}, {model})"
        case Prepare():
            return f"prepares plan {message.version}"
        case Commit():
            return f"plan {message.version} is in force: {room.plan}"
        case Save():
            return f"checkpoint of step {message.step}"
        case Recall():
            return f"back to step {message.step}, plan {message.version}: {room.plan}"
    return ""
