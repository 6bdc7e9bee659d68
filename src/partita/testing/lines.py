"""Lines of a training that are watched, late or broken on purpose: each goes around another line.

Rules: what happens to a request is decided by a function of its message; a line that was lost stays lost; late
answers come in the order of their requests, and computing stays in the thread that posts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import final

from ..errors import ConnectionLost, PartitaError
from ..run import Reply
from ..train import DirectLine, Line, Room, Ticket
from ..wire import Encoded, LinkEstimate, Message, Stats

__all__ = ["Exchange", "TamperedLine", "Tampering", "around"]

Fault = Callable[[Message], PartitaError | None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what was answered: nothing where the request did not arrive."""

    message: Message
    tensors: Mapping[str, Encoded]
    answer: Message | None = None
    values: Mapping[str, Encoded] = field(default_factory=dict)


@dataclass
class Tampering:
    """What is done to requests: `refuse` keeps one from arriving, `lose` its answer, `late` is seconds of delay.

    `exchanges` is everything that went over all lines made with this.
    """

    refuse: Fault | None = None
    lose: Fault | None = None
    late: Callable[[], float] | None = None
    exchanges: list[Exchange] = field(default_factory=list)

    def said(self, kind: type[Message]) -> list[Exchange]:
        """The exchanges that began with a message of this kind."""
        return [each for each in self.exchanges if isinstance(each.message, kind)]


@final
class TamperedLine:
    """A line with these faults around another one."""

    def __init__(self, line: Line, tampering: Tampering) -> None:
        self._line, self._tampering = line, tampering
        self._lost: PartitaError | None = None
        self._deliverer = ThreadPoolExecutor(1, "late") if tampering.late is not None else None

    def number(self) -> int:
        """As the line below counts."""
        return self._line.number()

    def post(self, message: Message, tensors: Mapping[str, Encoded] | None = None) -> Ticket:
        """Send a request, or do to it what was asked."""
        tampering, sent = self._tampering, dict(tensors or {})
        error = self._lost or (tampering.refuse(message) if tampering.refuse else None)
        if error is not None:
            tampering.exchanges.append(Exchange(message, sent))
            return self._failed(error)
        ticket = self._line.post(message, sent)
        problem = ticket.exception()
        if problem is None:
            reply = ticket.result()
            tampering.exchanges.append(Exchange(message, sent, reply.message, reply.tensors))
        error = tampering.lose(message) if tampering.lose else None
        return self._failed(error) if error is not None else self._delayed(ticket)

    def _failed(self, error: PartitaError) -> Ticket:
        if isinstance(error, ConnectionLost):
            self._lost = error
        ticket: Ticket = Future()
        ticket.set_exception(error)
        return ticket

    def _delayed(self, ticket: Ticket) -> Ticket:
        late = self._tampering.late
        if late is None or self._deliverer is None:
            return ticket
        seconds = late()

        def deliver() -> Reply:
            time.sleep(seconds)
            return ticket.result()

        return self._deliverer.submit(deliver)

    def withdraw(self, message: Message, ticket: Ticket) -> bool:
        """As the line below; what is late here was answered there."""
        return self._line.withdraw(message, ticket)

    def probe(self, size: int = 256 << 10) -> Future[LinkEstimate]:
        """That of the line below."""
        return self._line.probe(size)

    def link(self) -> LinkEstimate:
        """That of the line below."""
        return self._line.link()

    def stats(self) -> Stats:
        """Those of the line below."""
        return self._line.stats()

    def close(self) -> None:
        """Hang up; late answers come first."""
        if self._deliverer is not None:
            self._deliverer.shutdown()
        self._line.close()


def around(make: Callable[[], Room], tampering: Tampering | None = None) -> Callable[[], Line]:
    """What a session takes for its cloud: each call opens a line to a room in this process."""

    def dial() -> Line:
        return TamperedLine(DirectLine(make()), tampering or Tampering())

    return dial
