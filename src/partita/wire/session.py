"""The conversation: bytes in, events out; messages in, bytes out. No sockets, no tasks, no clock of its own.

A shell connects it to a byte stream: it calls `connected` (client) or `accepted` (server), feeds what it reads to
`receive_data`, writes what `next_chunk` hands out until that is None, calls `tick` when `next_timeout` is due, and
`disconnected` when the stream ends. Each call takes ``now``, any monotonic clock.

Three rules. Errors say who is at fault: SessionMisused is this side's caller, the ProtocolViolation family is the other
side. Every message is delivered once and in the order of its channel, over as many connections as it takes. What keeps
the session alive (acks, credit, pings) is not numbered and not repeated: each of them is complete in itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from ..errors import FrameCorrupt, ProtocolViolation, SessionMisused
from .assembly import Outgoing
from .codec_head import Encoded, TensorHead
from .flow import FIRST_WINDOW, window_for
from .frame import VERSION, Frame, FrameKind, FrameReader
from .inbox import Inbox
from .message import SESSION, Ack, Buffer, Close, Credit, Hello, Message, Ping, Pong, Probe, Welcome
from .meter import LinkEstimate, Rate, RoundTrip, Sample
from .outbox import CONTROL, TENSORS, Outbox
from .pulse import Pulse
from .session_event import Closed, Corrupted, Event, Opened, Received, Settings, Stale
from .session_state import SessionState, Step, Turns

__all__ = ["Session"]

_OVER: Final = SessionState.CLOSED
# Answers that are not numbered and so not held back by credit; a peer that only asks would fill memory with them.
_MOST_UNSAID: Final = 1024


@final
class Session:
    """One side of a conversation that may span several connections."""

    def __init__(self, session_id: str, settings: Settings | None = None, *, now: float = 0.0) -> None:
        self.id = session_id
        self.settings = settings or Settings()
        self._turns = Turns()
        self._outbox = Outbox(self.settings.limits)
        self._inbox = Inbox(self.settings.limits, self.settings.vocabulary)
        self._reader = FrameReader(self.settings.limits)
        self._urgent: deque[Message] = deque()
        self._greeted = False
        self._up, self._down, self._round_trip = Rate(), Rate(), RoundTrip()
        self._heard = self._detached_at = now
        self._window = FIRST_WINDOW
        self._pings = 0
        self._pulse = Pulse(self.settings.heartbeat)
        self._unacked = 0
        self._ack_at: float | None = None

    # -- what the shell may ask ---------------------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._turns.state

    def queued(self, channel: int) -> int:
        """Bytes that wait on a channel to be sent for the first time."""
        return self._outbox.queued_on(channel)

    @property
    def held(self) -> int:
        """Bytes this side keeps for the session: arriving, unread, and sent but unacknowledged."""
        return self._inbox.held + self._outbox.retained + self._reader.pending

    @property
    def idle(self) -> bool:
        """Everything was sent and acknowledged."""
        return self._outbox.idle

    @property
    def acked(self) -> int:
        """The last frame that the other side has confirmed; it grows while there is progress."""
        return self._outbox.acked + self._inbox.seq

    def link(self) -> LinkEstimate:
        """What was measured so far, from this side's point of view."""
        return LinkEstimate(up=self._up.smoothed, down=self._down.smoothed, rtt=self._round_trip.shortest)

    def peak(self, now: float) -> LinkEstimate:
        """The same over a longer memory, with the highest rates of the last seconds, and with the last round trip."""
        return LinkEstimate(up=self._up.highest(now), down=self._down.highest(now), rtt=self._round_trip.last)

    # -- connections --------------------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """Client: a connection is there; says Hello."""
        self._attach(FrameReader(self.settings.limits), now)
        credits_ = dict(enumerate(credit.granted for credit in self._inbox.credits))
        self._urgent.append(Hello(VERSION, self.id, self._greeted, self._inbox.seq, credits_))

    def accepted(self, hello: Hello, reader: FrameReader, now: float) -> None:
        """Server: a connection said Hello for this session; ``reader`` has read it."""
        self._attach(reader, now)
        self._outbox.resume(hello.received)
        self._raise_credits(hello.credits)
        credits_ = dict(enumerate(credit.granted for credit in self._inbox.credits))
        self._urgent.append(Welcome(VERSION, self.id, self._greeted, self._inbox.seq, credits_))
        self._greet(now)

    def disconnected(self, now: float) -> None:
        """The connection is gone; the session waits for another."""
        self._turns.step(Step.DETACH)
        self._detached_at = now
        self._urgent.clear()
        self._ack_at, self._unacked = None, 0
        self._inbox.interrupted()
        self._round_trip.forget()

    def close(self, code: str = "done", reason: str = "") -> None:
        """End the session; the last chunk tells the other side."""
        if self.state in (SessionState.OPENING, SessionState.OPEN):
            self._urgent.append(Close(code[:256], reason[:2048]))
        self._turns.step(Step.CLOSE)

    def _attach(self, reader: FrameReader, now: float) -> None:
        self._turns.step(Step.CONNECT)
        self._reader = reader
        self._heard = now

    def _greet(self, now: float) -> None:
        self._turns.step(Step.GREET)
        self._greeted = True
        self._pulse.start(now)
        self.ping()

    def _raise_credits(self, credits_: Mapping[int, int]) -> None:
        for channel, limit in credits_.items():
            if channel < self.settings.limits.max_channels:
                self._outbox.granted(channel, limit, self._outbox.credits[channel].window)

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(
        self, message: Message, tensors: Mapping[str, Encoded] | None = None, *, channel: int | None = None
    ) -> int:
        """Queue a message, with tensors on a tensor channel unless told otherwise; returns the channel."""
        if self.state is _OVER:
            raise SessionMisused("session: it is closed and sends nothing", fix="open a new connection")
        where = channel if channel is not None else TENSORS if tensors else CONTROL
        limits = self.settings.limits
        if not 0 <= where < limits.max_channels:
            raise SessionMisused(
                f"channel: {where}, this session has 0 to {limits.max_channels - 1}",
                fix="use one of them, or raise Limits.max_channels on both sides",
            )
        self._outbox.put(Outgoing.of(message, tensors or {}, where, self.settings.vocabulary, limits))
        return where

    def waiting(self) -> list[Message]:
        """The messages of which nothing has left yet."""
        return self._outbox.waiting()

    def withdraw(self, message: Message) -> bool:
        """Take back a message of which nothing has left; the other side will never know of it."""
        return self._outbox.withdraw(message)

    def next_chunk(self, now: float) -> list[Buffer] | None:
        """The next frame as buffers to be written in this order, or None."""
        if self._urgent:
            message = self._urgent.popleft()
            if isinstance(message, Ping):
                self._round_trip.sent(message.id, now)
            header = SESSION.encode(message)
            return Frame(FrameKind.SESSION, CONTROL, 0, True, len(header), 0, (header,), len(header)).encode()
        if self.state is not SessionState.OPEN:
            return None
        frame = self._outbox.next_frame()
        return frame.encode(check_up_to=self.settings.check_up_to) if frame else None

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive_data(self, data: Buffer, now: float) -> list[Event]:
        """Feed bytes of the connection; raises the ProtocolViolation family when the other side breaks the rules."""
        try:
            frames = self._reader.feed(data)
        except ProtocolViolation as error:
            # Damaged bytes, or, where a resumed connection begins, bytes that are not even recognised as ours.
            if self._greeted and (isinstance(error, FrameCorrupt) or self.state is SessionState.OPENING):
                return [Corrupted(error.problem)]
            raise
        return self.receive_frames(frames, now)

    def receive_frames(self, frames: Sequence[Frame], now: float) -> list[Event]:
        """The same for frames that a greeter has already read."""
        self._heard = now
        events: list[Event] = []
        for frame in frames:
            if self.state is _OVER:
                break
            if frame.kind is FrameKind.SESSION:
                events += self._converse(frame, now)
            else:
                events += self._work(frame, now)
        if self.state is SessionState.OPEN:
            self._acknowledge(now)
        return events

    def release(self, size: int) -> None:
        """The application took a message of this size; credit held back for it is given."""
        self._inbox.unread -= size
        if self.state is SessionState.OPEN:
            self._renew_credit()

    def _work(self, frame: Frame, now: float) -> list[Event]:
        if self.state is not SessionState.OPEN:
            raise ProtocolViolation(
                f"frame {frame.seq}: work before the greeting",
                fix="say Hello first; see the wire format page",
            )
        whole = self._inbox.take(frame, now)
        self._unacked += frame.size
        if self._ack_at is None:
            self._ack_at = now + self.settings.ack_delay
        if whole is None:
            return []
        message, tensors, size = whole
        if isinstance(message, Probe):
            self._inbox.unread -= size
            return self._probed(message)
        return [Received(message, tensors, frame.channel, size)]

    def _probed(self, probe: Probe) -> list[Event]:
        if not probe.reply:
            return [Received(probe, {}, TENSORS, 0)]
        size = min(probe.reply, self.settings.limits.max_probe)
        # Behind other traffic it would only measure that, and be in its way: the traffic measures itself.
        tensors = {}
        if not self._outbox.queued:
            body = memoryview(bytes(size))
            tensors = {"probe": Encoded(TensorHead("raw", "uint8", (size,)), (body,))}
        self.send(Probe(probe.request, 0), tensors)
        return []

    def _converse(self, frame: Frame, now: float) -> list[Event]:
        message, _ = SESSION.decode(b"".join(frame.payload))
        kinds = _EXPECTED[self.state]
        if type(message) not in kinds:
            raise ProtocolViolation(
                f"{type(message).__name__}: not expected while the session is {self.state.value}",
                fix="check that both sides run the same version of Partita",
            )
        return list(_HEARD[type(message)](self, message, now))

    def _on_welcome(self, welcome: Welcome, now: float) -> list[Event]:
        if welcome.session != self.id:
            raise ProtocolViolation(
                f"Welcome.session: {welcome.session} instead of {self.id}",
                fix="check what stands between both sides",
            )
        self._outbox.resume(welcome.received)
        self._raise_credits(welcome.credits)
        self._greet(now)
        return [Opened(welcome.resumed)]

    def _on_ack(self, ack: Ack, now: float) -> list[Event]:
        self._outbox.acknowledged(ack.seq)
        if ack.seconds > 0:
            self._up.add(Sample(ack.bytes, ack.seconds), now)
        return []

    def _on_credit(self, credit: Credit, _now: float) -> list[Event]:
        self._outbox.granted(credit.channel, credit.limit, credit.window)
        return []

    def _on_ping(self, ping: Ping, _now: float) -> list[Event]:
        if len(self._urgent) >= _MOST_UNSAID:
            raise ProtocolViolation(
                f"Ping {ping.id}: {len(self._urgent)} answers wait to be sent",
                fix="read the answers before asking again",
            )
        self._urgent.append(Pong(ping.id))
        return []

    def _on_pong(self, pong: Pong, now: float) -> list[Event]:
        self._round_trip.answered(pong.id, now)
        self._pulse.answered(pong.id)
        return []

    def _on_close(self, close: Close, _now: float) -> list[Event]:
        if self.state is SessionState.OPENING and self._greeted and close.code in _DAMAGED:
            return [Corrupted(close.reason)]  # our Hello arrived damaged; the next one may not
        self._turns.step(Step.CLOSE)
        self._urgent.clear()
        return [Closed(close.code, close.reason)]

    # -- acknowledgement and time -------------------------------------------------------------------------------------

    def _acknowledge(self, now: float) -> None:
        sample, self._inbox.sample = self._inbox.sample, None
        if sample is not None:
            self._down.add(sample, now)
        self._size_window()
        self._renew_credit()
        if sample is not None or self._unacked >= self._window // 2:
            self._ack(sample)

    def _ack(self, sample: Sample | None = None) -> None:
        measured = (sample.bytes, sample.seconds) if sample else (0, 0.0)
        self._urgent.append(Ack(self._inbox.seq, *measured))
        self._unacked, self._ack_at = 0, None

    def _size_window(self) -> None:
        link = LinkEstimate(up=None, down=self._down.highest(self._heard), rtt=self._round_trip.shortest)
        self._window = window_for(link, quiet=self._pulse.quiet)

    def _renew_credit(self) -> None:
        for channel, limit, window in self._inbox.renewals(self._window):
            self._urgent.append(Credit(channel, limit, window))

    def ping(self) -> None:
        """Measure the round trip now, without waiting for the next heartbeat."""
        if self.state is SessionState.OPEN:
            self._pings += 1
            self._urgent.append(Ping(self._pings))

    def next_timeout(self) -> float | None:
        """When `tick` wants to be called, on the clock of ``now``."""
        if self.state is SessionState.DETACHED:
            return self._detached_at + self.settings.resume_timeout
        if self.state is SessionState.OPENING:
            return self._heard + self.settings.idle_timeout
        if self.state is SessionState.OPEN:
            due = min(self._pulse.due, self._heard + self.settings.idle_timeout)
            return due if self._ack_at is None else min(due, self._ack_at)
        return None

    def tick(self, now: float) -> list[Event]:
        """Do what is due: delayed acks, heartbeats, and noticing silence."""
        if self.state is SessionState.DETACHED and now >= self._detached_at + self.settings.resume_timeout:
            self._turns.step(Step.CLOSE)
            return [Closed("not-resumed", f"no connection for {self.settings.resume_timeout:g} s")]
        if self.state not in (SessionState.OPENING, SessionState.OPEN):
            return []
        if now >= self._heard + self.settings.idle_timeout:
            return [Stale(now - self._heard)]
        if self.state is SessionState.OPEN:
            if self._ack_at is not None and now >= self._ack_at:
                self._ack()
            if self._pulse.beat(now, self._round_trip.last):
                self.ping()
                self._pulse.pinged(self._pings)
        return []


_DAMAGED: Final = frozenset({"frame-corrupt", "protocol-violation", "frame-too-large"})
_ALIVE: Final[frozenset[type[Message]]] = frozenset({Ack, Credit, Ping, Pong, Close})
_EXPECTED: Final[Mapping[SessionState, frozenset[type[Message]]]] = {
    SessionState.IDLE: frozenset(),
    SessionState.OPENING: frozenset({Welcome, Close}),
    SessionState.OPEN: _ALIVE,
    SessionState.DETACHED: frozenset(),
    SessionState.CLOSED: frozenset(),
}
_HEARD: Final[Mapping[type[Message], Callable[[Session, Any, float], list[Event]]]] = {
    Welcome: Session._on_welcome,
    Ack: Session._on_ack,
    Credit: Session._on_credit,
    Ping: Session._on_ping,
    Pong: Session._on_pong,
    Close: Session._on_close,
}
