"""What a session tells its shell, and what the shell may set: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from .codec_head import Encoded
from .frame import CHECK_UP_TO
from .limits import Limits
from .message import WORK, Message, Vocabulary

__all__ = ["Closed", "Corrupted", "Event", "Opened", "Received", "Settings", "Stale"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How one side of a session behaves, in seconds and bytes."""

    limits: Limits = field(default_factory=Limits)
    vocabulary: Vocabulary = WORK
    # A link that is silent for five heartbeats is taken for dead: SSH and gRPC users set the same order.
    heartbeat: float = 2.0
    idle_timeout: float = 10.0
    # A phone that changes cells or a laptop that sleeps through a tunnel is back within this.
    resume_timeout: float = 60.0
    # TCP's own delayed ack waits up to 40 ms.
    ack_delay: float = 0.025
    check_up_to: int = CHECK_UP_TO


@dataclass(frozen=True, slots=True)
class Opened:
    """Messages flow; ``resumed`` if they flowed before on another connection."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A whole message; give its ``size`` back with `Session.release` once the application has it."""

    message: Message
    tensors: dict[str, Encoded]
    channel: int
    size: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The other side ended the session."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing came for so many seconds: the connection is dead, whatever the socket says."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Corrupted:
    """The bytes of this connection can not be trusted any more: drop it and resume."""

    problem: str


Event = Opened | Received | Closed | Stale | Corrupted
