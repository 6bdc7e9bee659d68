"""The cloud of a training on the network: each visitor has a room of its own; work is done in the order it comes.

Rules: one thread computes unless more are asked for, so that a message of one visitor waits for at most one of each
other; a room lives as long as its session may resume; a run that is begun again belongs to whoever began it last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, final

from ..errors import ConnectionLost, FrameTooLarge, LimitExceeded, PartitaError, SessionMisused
from ..wire import (
    Connection,
    Encoded,
    Failed,
    HubLimits,
    Listener,
    Message,
    Result,
    Settings,
    Tls,
    listen,
)
from .cloud_visitor import Visitor, told
from .messages import TRAINING, Begin, Hasten
from .room import Answer, House, Room, run_key
from .room_limits import MemoryWatch, RoomLimits
from .room_plan import Data

if TYPE_CHECKING:
    from ..engine.torch_model import TorchModel

Log = Callable[[str], None]
# Sessions of visitors that are gone may still wait to be resumed beside those of the visitors that are here.
_SPARE_SESSIONS: Final = 16
# Heartbeats of an idle session are below this; a link that is probed now and then is above.
_IDLE_RATE: Final = 100.0
_GREETING_SECONDS: Final = 60.0
TAKEN_OVER: Final = "this run was begun again by another connection"


@final
class CloudServer:
    """Trains the cloud's parts of its visitors' models. Use it as `async with`; `url` tells the port that was taken.

    `state` is the folder of checkpoints (one of its own for as long as it runs, if not given); `offers` are captured
    models that visitors need not send; `data` gives the server's own samples by their ids; `slow` stretches all
    computing so many times: another device, pretended.
    """

    def __init__(  # noqa: PLR0913  # the public door: all but one have defaults
        self,
        url: str,
        *,
        state: Path | None = None,
        token: str | None = None,
        tls: Tls | None = None,
        offers: Mapping[str, TorchModel] | None = None,
        data: Data | None = None,
        limits: RoomLimits | None = None,
        slow: float = 1.0,
        threads: int | None = None,
        workers: int = 1,
        device: str = "cpu",
        wire: Settings | None = None,
        log: Log | None = None,
    ) -> None:
        self._url, self._token, self._tls = url, token, tls
        self._limits = limits or RoomLimits()
        self._wire = replace(wire or Settings(), vocabulary=TRAINING)
        self._log = log or _silent
        self._stack = ExitStack()
        folder = state or Path(self._stack.enter_context(TemporaryDirectory(prefix="partita-cloud-")))
        self._house = House(folder, _packed(offers or {}), data, self._limits, slow, device)
        self._watch = MemoryWatch(self._limits.memory)
        self._visitors: dict[str, Visitor] = {}
        self._listener: Listener | None = None
        self._workers = ThreadPoolExecutor(workers, "partita-cloud", _use_threads, (threads,))

    async def __aenter__(self) -> CloudServer:
        most = HubLimits(max_sessions=self._limits.visitors + _SPARE_SESSIONS)
        self._listener = await listen(
            self._url, self._visit, token=self._token, tls=self._tls, settings=self._wire, limits=most
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._listener is not None:
                await self._listener.close()
        finally:
            # What is being computed ends first: its room's folder is still open.
            await asyncio.to_thread(self._workers.shutdown, wait=True, cancel_futures=True)
            self._stack.close()

    @property
    def url(self) -> str:
        """Where visitors connect to."""
        return self._listener.url if self._listener is not None else self._url

    @property
    def visitors(self) -> int:
        """How many runs are open here."""
        return len(self._visitors)

    # -- one visitor -------------------------------------------------------------------------------------------------

    async def _visit(self, connection: Connection) -> None:
        visitor = Visitor(connection, Room(self._house, self._watch))
        name = connection.session_id[:8]
        self._log(f"visitor {name} came")
        try:
            while True:
                message, tensors = await self._next(visitor)
                if isinstance(message, Hasten):
                    await visitor.hasten(self._workers)
                    await visitor.send(Result(message.request), {})
                    continue
                refusal = await self._admit(visitor, message) if isinstance(message, Begin) else None
                found: Answer = (
                    (refusal, {}) if refusal else await visitor.work(self._workers, message, tensors)
                )
                answer, values = found
                self._tell(name, visitor, message, answer)
                await _send(visitor, answer, values)
        except PartitaError as error:
            if visitor.taken_over:
                # Whatever else would end the session would make the other side come back.
                await connection.close("taken-over", TAKEN_OVER)
            elif not isinstance(error, ConnectionLost):
                raise
        finally:
            self._leave(visitor)
            self._log(f"visitor {name} is gone")

    async def _next(self, visitor: Visitor) -> tuple[Message, Mapping[str, Encoded]]:
        """The next message of a visitor that is not idle."""
        connection = visitor.connection
        while True:
            patience = self._limits.idle if visitor.key else min(self._limits.idle, _GREETING_SECONDS)
            heard = connection.stats.received_wire
            try:
                async with asyncio.timeout(patience):
                    return await connection.receive()
            except TimeoutError:
                if connection.stats.received_wire - heard < patience * _IDLE_RATE:
                    raise LimitExceeded(
                        f"nothing was asked for {patience:g} s, which is the limit here",
                        fix="begin the run again: it goes on from its last checkpoint",
                    ) from None

    async def _admit(self, visitor: Visitor, message: Begin) -> Failed | None:
        """Make way for a run: whoever had it before is let go. Gives the refusal where there is no way."""
        try:
            key = run_key(message.run)
        except PartitaError:
            return None  # the room says what is wrong
        before = self._visitors.get(key)
        if before is visitor or visitor.key:
            return None
        if before is None and len(self._visitors) >= self._limits.visitors:
            full = f"{len(self._visitors)} visitors are here, which is the limit"
            return Failed(message.request, LimitExceeded.code, full, "try again when one has left")
        self._visitors[key], visitor.key = visitor, key
        if before is not None:
            await before.give_up(TAKEN_OVER)
        return None

    def _leave(self, visitor: Visitor) -> None:
        if self._visitors.get(visitor.key) is visitor:
            del self._visitors[visitor.key]
        visitor.end("this visitor has left")

    def _tell(self, name: str, visitor: Visitor, message: Message, answer: Message) -> None:
        said = told(message, answer, visitor.room)
        if said:
            self._log(f"visitor {name}: {said}")


async def _send(visitor: Visitor, answer: Message, values: Mapping[str, Encoded]) -> None:
    try:
        await visitor.send(answer, values)
    except (FrameTooLarge, SessionMisused) as error:
        request = int(getattr(answer, "request", 0))
        await visitor.send(Failed(request, error.code, error.problem[:8000], error.fix[:8000]), {})


def _packed(offers: Mapping[str, TorchModel]) -> dict[str, bytes]:
    """Models as visitors would send them: each visitor gets its own from these bytes."""
    from ..engine.torch_portable import pack_torch

    return {model.chain.digest: pack_torch(model) for model in offers.values()}


def _use_threads(count: int | None) -> None:
    if count is not None:
        import torch

        torch.set_num_threads(count)


def _silent(line: str) -> None:
    """Nobody listens."""
