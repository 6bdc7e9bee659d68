"""The visiting side of one connection: requests out, answers in, several on their way at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import final

from ..engine import Array, Learner, Part
from ..errors import (
    AccessDenied,
    ConnectionLost,
    DigestMismatch,
    IllegalCut,
    NotFound,
    PartitaError,
    ProtocolViolation,
    RemotePartFailed,
    UnboundDimension,
)
from ..graph import Chain
from ..wire import Connection, Encoded, Failed, Fetch, Load, Loaded, Message, Result, State, decode, encode
from .weights import in_messages, weights_digest


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its message, and its tensors as they came."""

    message: Message
    tensors: Mapping[str, Encoded]


@final
class Remote:
    """One place on the other side of a connection. Use it as `async with`; `answers` are the kinds it may give."""

    def __init__(
        self, connection: Connection, *, answers: tuple[type[Message], ...] = (Result, Loaded)
    ) -> None:
        self._connection, self._answers = connection, answers
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._broken: PartitaError | None = None

    async def __aenter__(self) -> Remote:
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._fail(ConnectionLost("this side hung up before the answer came", fix="connect again"))
        await self._connection.close()

    def number(self) -> int:
        """A request number that was not used before."""
        return next(self._numbers)

    async def ask(self, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Reply:
        """Send a request and wait for its answer; a `Failed` answer is raised as the error it names."""
        if self._broken is not None:
            raise self._broken
        request = int(getattr(message, "request", 0))
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        try:
            await self._connection.send(message, tensors)
            return await future
        finally:
            self._waiting.pop(request, None)

    async def _read(self) -> None:
        try:
            while True:
                message, tensors = await self._connection.receive()
                self._settle(message, tensors)
        except PartitaError as error:
            self._fail(error)

    def _settle(self, message: Message, tensors: Mapping[str, Encoded]) -> None:
        future = self._waiting.get(int(getattr(message, "request", -1)))
        if future is None or future.done():
            return
        if isinstance(message, Failed):
            future.set_exception(_raised(message))
        elif isinstance(message, self._answers):
            future.set_result(Reply(message, tensors))
        else:
            problem = f"the answer to a request is of kind {type(message).__name__}"
            future.set_exception(ProtocolViolation(problem, fix="check that both sides run the same version"))

    def _fail(self, error: PartitaError) -> None:
        self._broken = error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

    async def load(
        self,
        name: str,
        chain: Chain,
        part: Part,
        *,
        mode: str = "infer",
        codecs: Mapping[str, str] | None = None,
    ) -> None:
        """Have the other side hold a part with the same weights as `part`: sent only where they differ."""
        message = Load(
            request=self.number(),
            part=name,
            model=chain.name,
            digest=chain.digest,
            start=part.start,
            stop=part.stop,
            mode="train" if mode == "train" else "eval",
            options=dict(codecs or {}),
        )
        loaded = (await self.ask(message)).message
        mine = weights_digest(part)
        if not isinstance(loaded, Loaded) or loaded.weights == mine:
            return
        if not isinstance(part, Learner):
            raise DigestMismatch(
                f"the weights of {chain.name!r} differ between the two sides",
                fix="copy the model file to the other side: ONNX parts are not sent",
            )
        for group, last in in_messages(part.state()):
            state = State(self.number(), name, last)
            await self.ask(state, {key: encode(value) for key, value in group.items()})

    async def fetch(self, name: str, what: str) -> dict[str, Array]:
        """The state or the gradients of a part that is held there."""
        message = Fetch(self.number(), name, "gradients" if what == "gradients" else "state")
        reply = await self.ask(message)
        return {key: decode(value) for key, value in reply.tensors.items()}


def _raised(failed: Failed) -> PartitaError:
    """What a `Failed` message says, as an error of the same kind; a kind unknown here is a RemotePartFailed."""
    kind = _KINDS.get(failed.code, RemotePartFailed)
    return kind(f"the other side: {failed.problem}", fix=failed.fix)


# Errors that mean the same when the other side has them. Its own failures are remote ones here.
_KINDS: dict[str, type[PartitaError]] = {
    kind.code: kind
    for kind in (AccessDenied, DigestMismatch, IllegalCut, NotFound, ProtocolViolation, UnboundDimension)
}
