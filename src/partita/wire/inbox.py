"""What arrives: in order, once, put together per channel, within its credit and its bounds. Pure.

Three rules. A frame seen before is dropped, a gap is refused. A byte beyond the credit is refused. Credit is renewed as
chunks arrive, but not while more than ``max_held`` waits for the application; only the message that has been arriving
longest goes on then, so that it can be finished and read.
"""

from __future__ import annotations

from typing import final

from ..errors import FrameTooLarge, ProtocolViolation
from .assembly import Assembly
from .codec_head import Encoded
from .flow import ReceiveCredit
from .frame import Frame, FrameKind
from .limits import Limits
from .message import Message, Vocabulary
from .meter import ReceiveMeter, Sample

__all__ = ["Inbox"]


@final
class Inbox:
    """The receiving half of a session."""

    __slots__ = (
        "_active",
        "_assemblies",
        "_limits",
        "_meter",
        "_vocabulary",
        "credits",
        "sample",
        "seq",
        "unread",
    )

    def __init__(self, limits: Limits, vocabulary: Vocabulary) -> None:
        self._limits = limits
        self._vocabulary = vocabulary
        self._assemblies: dict[int, Assembly] = {}
        # Channels on which anything came at all: most sessions use two.
        self._active: set[int] = set()
        self._meter = ReceiveMeter()
        self.credits = [ReceiveCredit() for _ in range(limits.max_channels)]
        self.sample: Sample | None = None
        self.seq = 0
        self.unread = 0

    @property
    def held(self) -> int:
        """Bytes kept here: of messages that are arriving, and of those nobody has read."""
        return self.unread + sum(assembly.held for assembly in self._assemblies.values())

    def take(self, frame: Frame, now: float) -> tuple[Message, dict[str, Encoded], int] | None:
        """A message, its tensors and its size, when this frame completes one."""
        if frame.seq <= self.seq:
            return None
        if frame.seq != self.seq + 1:
            raise ProtocolViolation(
                f"seq: frame {frame.seq} follows frame {self.seq}",
                fix="check that both sides run the same version of Partita",
            )
        if not self.credits[frame.channel].arrived(frame.size):
            raise FrameTooLarge(
                f"channel {frame.channel}: {self.credits[frame.channel].received} bytes sent, "
                f"credit was given for {self.credits[frame.channel].granted}",
                fix="wait for credit before sending; check that both sides run the same version of Partita",
            )
        assembly = self._assembly(frame)
        assembly.add(frame)
        self.seq = frame.seq
        self.sample = (
            self._meter.arrived(frame.size, now, message_bytes=assembly.announced, ended=frame.last)
            or self.sample
        )
        if not frame.last:
            return None
        del self._assemblies[frame.channel]
        message, tensors = assembly.finish(self._vocabulary, self._limits)
        self.unread += assembly.announced
        return message, tensors, assembly.announced

    def _assembly(self, frame: Frame) -> Assembly:
        assembly = self._assemblies.get(frame.channel)
        if (assembly is None) != (frame.kind is FrameKind.START):
            raise ProtocolViolation(
                f"channel {frame.channel}: a {frame.kind.name.lower()} frame "
                f"{'without a message to continue' if assembly is None else 'inside another message'}",
                fix="check that both sides run the same version of Partita",
            )
        if assembly is None:
            self._active.add(frame.channel)
            assembly = self._assemblies[frame.channel] = Assembly(frame.header_length, frame.body_length)
        return assembly

    def renewals(self, window: int) -> list[tuple[int, int, int]]:
        """(channel, limit, window) of every channel whose credit should be renewed now."""
        if self.held > self._limits.max_held:
            return self._last_renewal(window)
        share = window // max(1, len(self._assemblies))
        due = []
        for channel in self._active:
            limit = self.credits[channel].renew(share)
            if limit is not None:
                due.append((channel, limit, share))
        return due

    def _last_renewal(self, window: int) -> list[tuple[int, int, int]]:
        if not self._assemblies:
            return []
        channel, eldest = next(iter(self._assemblies.items()))
        limit = self.credits[channel].renew(min(window, eldest.announced - eldest.held), grain=1)
        return [] if limit is None else [(channel, limit, window)]

    def interrupted(self) -> None:
        """The connection broke; what is half there waits for the rest."""
        self._meter.interrupted()
