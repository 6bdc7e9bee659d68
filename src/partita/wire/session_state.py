"""The states of a session as a table: (state, step) -> state. What is not in the table is not allowed.

One rule: all state lives here; the table does not know which side it is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, final

from ..errors import SessionMisused

__all__ = ["TURNS", "SessionState", "Step", "Turns"]


class SessionState(Enum):
    """Where a session stands."""

    IDLE = "idle"  # no connection yet
    OPENING = "opening"  # connected, not yet greeted
    OPEN = "open"  # messages flow
    DETACHED = "detached"  # the connection broke; it may be resumed
    CLOSED = "closed"  # over, for a stated reason


class Step(Enum):
    """What can happen to a session."""

    CONNECT = "connect"  # a connection is there
    GREET = "greet"  # Hello and Welcome were exchanged
    DETACH = "detach"  # the connection is gone
    CLOSE = "close"  # either side ends it, or it can not be resumed


_S, _T = SessionState, Step

TURNS: Final[Mapping[tuple[SessionState, Step], SessionState]] = {
    (_S.IDLE, _T.CONNECT): _S.OPENING,
    (_S.DETACHED, _T.CONNECT): _S.OPENING,
    (_S.OPENING, _T.GREET): _S.OPEN,
    (_S.OPENING, _T.DETACH): _S.DETACHED,
    (_S.OPEN, _T.DETACH): _S.DETACHED,
    (_S.DETACHED, _T.DETACH): _S.DETACHED,
    (_S.CLOSED, _T.DETACH): _S.CLOSED,
    **{(state, _T.CLOSE): _S.CLOSED for state in _S},
}


@final
class Turns:
    """A walk through the table."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = SessionState.IDLE

    def step(self, step: Step) -> None:
        """Take a step, or say that it is not allowed here."""
        try:
            self.state = TURNS[self.state, step]
        except KeyError:
            raise SessionMisused(
                f"session: {step.value!r} is not possible while it is {self.state.value}",
                fix="open a new connection",
            ) from None
