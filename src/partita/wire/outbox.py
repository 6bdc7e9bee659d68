"""What one side still has to say: queues per channel, sequence numbers, and what may have to be said again. Pure.

Three rules. Control goes first at every chunk; the tensor channels take turns. A frame stays here until it is
acknowledged, so that a lost connection costs time and no data; when too much waits for that, sending waits too.
The bytes given to `put` are not copied: they must not change until they are acknowledged.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from ..errors import ConnectionLost, ProtocolViolation
from .assembly import Outgoing
from .flow import SendCredit
from .frame import Frame
from .limits import Limits
from .message import Message

__all__ = ["CONTROL", "TENSORS", "Outbox"]

CONTROL: Final = 0
TENSORS: Final = 1


@final
class Outbox:
    """The sending half of a session."""

    __slots__ = (
        "_limits",
        "_queues",
        "_resend",
        "_retained",
        "_turn",
        "acked",
        "credits",
        "queued",
        "retained",
        "seq",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queues: list[deque[Outgoing]] = [deque() for _ in range(limits.max_channels)]
        self._turn = TENSORS
        self._retained: deque[Frame] = deque()
        self._resend: deque[Frame] = deque()
        self.credits = [SendCredit() for _ in range(limits.max_channels)]
        self.queued = 0
        self.retained = 0
        self.seq = 0
        self.acked = 0

    @property
    def idle(self) -> bool:
        """Everything was sent and acknowledged."""
        return not self.queued and not self._retained

    def queued_on(self, channel: int) -> int:
        """Bytes that wait on one channel."""
        return sum(message.remaining for message in self._queues[channel])

    def put(self, message: Outgoing) -> None:
        """Queue a message on its channel."""
        self._queues[message.channel].append(message)
        self.queued += message.remaining

    def waiting(self) -> list[Message]:
        """The messages of which nothing has left yet, those of each channel in their order."""
        return [o.message for queue in self._queues for o in queue if o.message and not o.begun]

    def withdraw(self, message: Message) -> bool:
        """Take a message back of which nothing has left yet; False if some of it has."""
        for queue in self._queues:
            for outgoing in queue:
                if outgoing.message is message and not outgoing.begun:
                    queue.remove(outgoing)
                    self.queued -= outgoing.remaining
                    return True
        return False

    def next_frame(self) -> Frame | None:
        """The next frame that may go now."""
        if self._resend:
            return self._resend.popleft()
        if self.queued and self.retained < self._limits.max_retained:
            for channel in self._order():
                if frame := self._cut(channel):
                    return frame
        return None

    def _order(self) -> list[int]:
        tensors = range(TENSORS, len(self._queues))
        turn = self._turn - TENSORS
        return [CONTROL, *tensors[turn:], *tensors[:turn]]

    def _cut(self, channel: int) -> Frame | None:
        queue, credit = self._queues[channel], self.credits[channel]
        if not queue:
            return None
        size = credit.chunk(queue[0].remaining, min(self._limits.max_chunk, queue[0].largest_chunk))
        if not size:
            return None
        self.seq += 1
        frame = queue[0].cut(size, self.seq)
        credit.sent += size
        if frame.last:
            queue.popleft()
        if channel != CONTROL:
            self._turn = channel % (len(self._queues) - 1) + TENSORS
        self.queued -= size
        self.retained += size
        self._retained.append(frame)
        return frame

    def acknowledged(self, seq: int) -> None:
        """The other side has everything up to ``seq``."""
        if seq > self.seq:
            raise ProtocolViolation(
                f"ack seq: {seq} was never sent, the last frame was {self.seq}",
                fix="check that both sides run the same version of Partita",
            )
        self.acked = max(self.acked, seq)
        for frames in (self._retained, self._resend):
            while frames and frames[0].seq <= self.acked:
                frame = frames.popleft()
                self.retained -= frame.size if frames is self._retained else 0

    def resume(self, received: int) -> None:
        """A new connection: say again what the other side has not received."""
        if received < self.acked:
            raise ConnectionLost(
                f"the other side remembers {received} frames of this session but had confirmed {self.acked}",
                fix="it was restarted; start the work again from its last checkpoint",
            )
        self.acknowledged(received)
        self._resend = deque(self._retained)

    def granted(self, channel: int, limit: int, window: int) -> None:
        """The other side allows more on a channel."""
        if channel >= len(self.credits):
            raise ProtocolViolation(
                f"credit channel: {channel}, this session has {len(self.credits)}",
                fix="use the same Limits.max_channels on both sides",
            )
        self.credits[channel].granted(limit, window)
