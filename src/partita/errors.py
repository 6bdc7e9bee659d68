"""Everything that can go wrong, in one tree: who is at fault, and what to do next.

    PartitaError
    ├── UserError              what was asked cannot be done as asked          400  exit 2
    │   ├── BadReference         a model reference that names nothing
    │   ├── BadDocument          a plan, profile or config with wrong fields
    │   ├── CannotCapture        a model that cannot be cut
    │   ├── IllegalCut           a place where this model cannot be cut
    │   ├── UnboundDimension     a size that depends on a dimension nobody gave
    │   ├── ProfileMismatch      a profile for another model               409
    │   ├── PlanMismatch         a plan for another model                  409
    │   ├── MissingExtra         an optional library that is not installed
    │   ├── InsecureBind         a public address without token or TLS
    │   └── NotFound             an artifact, job or file that is not there  404
    ├── LocalError             this machine or this process failed             500  exit 3
    │   ├── CorruptArtifact      bytes at rest that do not match their digest
    │   ├── StoreUnavailable     a store that does not answer                503
    │   ├── PortTaken            an address that is in use
    │   ├── PartFailed           a part that raised while it ran
    │   └── SessionMisused       a call that the session's state or vocabulary does not allow
    ├── RemoteError            the other side failed or misbehaved             502  exit 4
    │   ├── Unreachable          nobody answers there
    │   ├── ConnectionLost       the connection broke and could not be resumed
    │   ├── ProtocolViolation    a frame or message that breaks the rules    400
    │   │   ├── FrameTooLarge      more bytes than this side accepts         413
    │   │   └── FrameCorrupt       bytes that do not parse or do not match
    │   ├── AccessDenied         a wrong token, certificate or signature     401
    │   ├── RemotePartFailed     a part that raised on the other side
    │   └── DigestMismatch       the other side holds another model          409
    └── PlatformError          the place's limits do not allow it              507  exit 5
        ├── Infeasible           no plan fits the limits
        └── LimitExceeded        a part that broke a limit of its place while it ran

Two rules. The sentence says what is wrong with which field and value; `fix` says what to do next.
The class decides the HTTP status and the exit code, so that no caller needs a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

__all__ = [
    "AccessDenied",
    "BadDocument",
    "BadReference",
    "CannotCapture",
    "ConnectionLost",
    "CorruptArtifact",
    "DigestMismatch",
    "FrameCorrupt",
    "FrameTooLarge",
    "IllegalCut",
    "Infeasible",
    "InsecureBind",
    "LimitExceeded",
    "LocalError",
    "MissingExtra",
    "NotFound",
    "PartFailed",
    "PartitaError",
    "PlanMismatch",
    "PlatformError",
    "PortTaken",
    "ProfileMismatch",
    "ProtocolViolation",
    "RemoteError",
    "RemotePartFailed",
    "SessionMisused",
    "StoreUnavailable",
    "UnboundDimension",
    "Unreachable",
    "UserError",
]

Fault = Literal["user", "local", "remote", "platform"]


class PartitaError(Exception):
    """The root. Raise one of its leaves: a caller should learn who is at fault."""

    fault: ClassVar[Fault] = "local"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    # The stable name, as in the docs and in JSON: the class name in kebab-case.
    code: ClassVar[str] = "partita-error"

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __init_subclass__(cls) -> None:
        name = cls.__name__
        cls.code = "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))

    def as_dict(self) -> dict[str, object]:
        """What a machine reads: the same facts as the message."""
        return {"error": self.code, "fault": self.fault, "problem": self.problem, "fix": self.fix}

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}"


class UserError(PartitaError):
    """What was asked cannot be done as asked."""

    fault = "user"
    status = 400
    exit_code = 2


class BadReference(UserError):
    """A model reference that names nothing."""

    status = 404


class BadDocument(UserError):
    """A plan, profile, chain or configuration with wrong fields: all of them are listed at once."""

    def __init__(self, what: str, problems: Iterable[str], *, fix: str) -> None:
        self.what = what
        self.problems = tuple(problems)
        listed = "; ".join(self.problems)
        super().__init__(f"{what}: {listed}", fix=fix)

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "problems": list(self.problems)}


class CannotCapture(UserError):
    """A model that cannot be cut, with the operator or line that stands in the way."""


class IllegalCut(UserError):
    """A position at which this model cannot be cut, or that it does not have."""


class UnboundDimension(UserError):
    """A size that depends on a dimension nobody gave a value for."""


class ProfileMismatch(UserError):
    """A profile that was measured on another model."""

    status = 409


class PlanMismatch(UserError):
    """A plan that was made for another model."""

    status = 409


class MissingExtra(UserError):
    """An optional library that is not installed here."""

    def __init__(self, library: str, *, extra: str, purpose: str) -> None:
        self.library = library
        self.extra = extra
        super().__init__(
            f"{purpose} needs {library}, which is not installed here",
            fix=f"pip install 'partita[{extra}]'",
        )


class InsecureBind(UserError):
    """A public address without token or TLS."""


class NotFound(UserError):
    """An artifact, job or file that is not there."""

    status = 404


class LocalError(PartitaError):
    """This machine or this process failed."""

    fault = "local"
    status = 500
    exit_code = 3


class CorruptArtifact(LocalError):
    """Bytes at rest that do not match their digest."""


class StoreUnavailable(LocalError):
    """A store that does not answer."""

    status = 503


class PortTaken(LocalError):
    """An address that another process uses."""


class PartFailed(LocalError):
    """A part that raised while it ran."""


class SessionMisused(LocalError):
    """A call that the session's state or vocabulary does not allow."""


class RemoteError(PartitaError):
    """The other side failed or misbehaved."""

    fault = "remote"
    status = 502
    exit_code = 4


class Unreachable(RemoteError):
    """Nobody answers at that address."""


class ConnectionLost(RemoteError):
    """The connection broke and could not be resumed."""


class ProtocolViolation(RemoteError):
    """A frame or message that breaks the rules of the conversation."""

    status = 400


class FrameTooLarge(ProtocolViolation):
    """More bytes than this side accepts: refused before anything is allocated."""

    status = 413


class FrameCorrupt(ProtocolViolation):
    """Bytes that do not parse, or whose sizes and checksums do not match."""


class AccessDenied(RemoteError):
    """A wrong token, certificate or signature."""

    status = 401


class RemotePartFailed(RemoteError):
    """A part that raised on the other side."""


class DigestMismatch(RemoteError):
    """The other side holds another model than this one."""

    status = 409


class PlatformError(PartitaError):
    """The limits of a place do not allow it."""

    fault = "platform"
    status = 507
    exit_code = 5


class Infeasible(PlatformError):
    """No plan fits the limits: names the limit that is hardest to meet."""


class LimitExceeded(PlatformError):
    """A part broke a limit of its place while it ran, and was stopped: names the limit and the bytes or seconds."""
