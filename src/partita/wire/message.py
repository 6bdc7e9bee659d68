"""Every message that two sides of a wire exchange, in one file, frozen.

Session messages keep the conversation alive and never reach the application. Work messages carry a part, its state
and its tensors. Three rules. A message holds plain data with a bound on every text. A tensor is described here and
travels as raw buffers after the header. A kind this side does not know is refused by name: a capability adds its own
kinds with ``WORK.extended(...)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, Final, Literal, final

import msgspec

from ..errors import FrameCorrupt, FrameTooLarge, ProtocolViolation, SessionMisused
from .codec_head import Encoded, TensorHead, buffer_lengths
from .limits import Limits

__all__ = [
    "SESSION",
    "WORK",
    "Ack",
    "Backward",
    "Buffer",
    "Close",
    "Credit",
    "Drop",
    "Failed",
    "Fetch",
    "Forward",
    "Hello",
    "Load",
    "Loaded",
    "Message",
    "Ping",
    "Pong",
    "Probe",
    "Result",
    "State",
    "TensorHeader",
    "Vocabulary",
    "Welcome",
]

Buffer = bytes | bytearray | memoryview

Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
# A sentence for people; long enough for a traceback's last lines, short enough not to be a load.
Sentence = Annotated[str, msgspec.Meta(max_length=8192)]
# Sessions are named by 128 random bits, as UUIDs are: guessing one is not a way in.
SessionId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


class Message(msgspec.Struct, frozen=True, tag_field="kind", tag=_kebab):
    """The root of every message; ``kind`` on the wire is the class name in kebab-case."""


# -- the conversation itself ------------------------------------------------------------------------------------------


class Hello(Message, frozen=True):
    """The first words of a connection: who is calling, and what of this session already arrived there."""

    version: Count
    session: SessionId
    resume: bool
    received: Count
    credits: dict[int, Count]


class Welcome(Message, frozen=True):
    """The answer to Hello: from here the session runs, or runs on."""

    version: Count
    session: SessionId
    resumed: bool
    received: Count
    credits: dict[int, Count]


class Ack(Message, frozen=True):
    """Everything up to ``seq`` arrived; ``bytes`` came in ``seconds`` by the receiver's own clock (0 if not measured)."""

    seq: Count
    bytes: Count = 0
    seconds: Seconds = 0.0


class Credit(Message, frozen=True):
    """The sender may fill ``channel`` up to byte ``limit`` since the session began; ``window`` sizes its chunks."""

    channel: Count
    limit: Count
    window: Count


class Ping(Message, frozen=True):
    """Asks for a Pong with the same number."""

    id: Count


class Pong(Message, frozen=True):
    """Answers a Ping."""

    id: Count


class Close(Message, frozen=True):
    """The session ends, for this reason."""

    code: Name
    reason: Sentence = ""


# -- the work ---------------------------------------------------------------------------------------------------------


class Probe(Message, frozen=True):
    """Bytes that only measure the link; the session itself answers with as many as ``reply`` asks for."""

    request: Count
    reply: Count


class Load(Message, frozen=True):
    """Hold the stages ``start`` to ``stop`` of the chain with this digest, in this mode; ``options`` are the engine's."""

    request: Count
    part: Name
    model: Name
    digest: Name
    start: Count
    stop: Count
    mode: Literal["eval", "train"]
    options: dict[str, str] = {}


class Loaded(Message, frozen=True):
    """The part is held and ready: its crossing tensors by name, and the digest of the weights it has."""

    request: Count
    part: Name
    inputs: tuple[Name, ...] = ()
    outputs: tuple[Name, ...] = ()
    weights: Name = ""


class State(Message, frozen=True):
    """Tensors of a part's state: parameters and buffers by name; ``last`` says that no more follow."""

    request: Count
    part: Name
    last: bool


class Forward(Message, frozen=True):
    """Run the part on these tensors; ``keep`` holds what a Backward will need."""

    request: Count
    part: Name
    step: Count = 0
    keep: bool = False


class Backward(Message, frozen=True):
    """Gradients of the part's outputs for an earlier ``step``."""

    request: Count
    part: Name
    step: Count = 0


class Result(Message, frozen=True):
    """The answer to ``request``: its tensors, and what they cost there."""

    request: Count
    seconds: Seconds = 0.0


class Failed(Message, frozen=True):
    """The answer to ``request`` is an error: its code in the error tree, the problem and the way out."""

    request: Count
    code: Name
    problem: Sentence
    fix: Sentence


class Fetch(Message, frozen=True):
    """Send back what a part holds: its parameters and buffers, or the gradients it gathered."""

    request: Count
    part: Name
    what: Literal["state", "gradients"]


class Drop(Message, frozen=True):
    """Let go of a part and of what was kept for it."""

    request: Count
    part: Name


# -- tensors and the header that carries both -------------------------------------------------------------------------


class TensorHeader(msgspec.Struct, frozen=True, array_like=True):
    """A tensor in a message: its name and its head, from which the lengths of its buffers follow."""

    name: Name
    head: TensorHead


class _Kind(msgspec.Struct):
    kind: str = "?"


@final
@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The kinds one side understands, and their binary form: msgpack of (message, tensor headers)."""

    kinds: tuple[type[Message], ...]
    _decoder: msgspec.msgpack.Decoder[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        union: Any = reduce(or_, self.kinds)
        decoder = msgspec.msgpack.Decoder(tuple[union, tuple[TensorHeader, ...]])
        object.__setattr__(self, "_decoder", decoder)

    def extended(self, *kinds: type[Message]) -> Vocabulary:
        """The same vocabulary with more kinds."""
        return Vocabulary((*self.kinds, *kinds))

    def encode(self, message: Message, tensors: Sequence[TensorHeader] = ()) -> bytes:
        """The header bytes of a message."""
        if type(message) not in self.kinds:
            raise SessionMisused(
                f"message kind {type(message).__name__} is not in this session's vocabulary",
                fix="give both sides a vocabulary that knows it: WORK.extended(YourMessage)",
            )
        return _ENCODER.encode((message, tensors))

    def decode(self, data: Buffer) -> tuple[Message, tuple[TensorHeader, ...]]:
        """The message in these header bytes, or a ProtocolViolation that names the field."""
        try:
            message, tensors = self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise self._refusal(data, error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameCorrupt(
                f"message header: {len(data)} bytes are not msgpack ({error})",
                fix="check that the other side speaks the same protocol version",
            ) from error
        return message, tensors

    def _refusal(self, data: Buffer, error: msgspec.ValidationError) -> ProtocolViolation:
        kind = _kind_of(data)
        known = sorted(_kebab(each.__name__) for each in self.kinds)
        if kind not in known:
            return ProtocolViolation(
                f"message kind {kind[:64]!r} is unknown here",
                fix=f"known kinds are {', '.join(known)}; update the older of the two sides",
            )
        return ProtocolViolation(
            f"message {kind!r}: {error}", fix="check that both sides run the same version of Partita"
        )


def _kind_of(data: Buffer) -> str:
    try:
        return msgspec.msgpack.decode(data, type=tuple[_Kind, Any])[0].kind
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "?"


_ENCODER: Final = msgspec.msgpack.Encoder()

SESSION: Final = Vocabulary((Hello, Welcome, Ack, Credit, Ping, Pong, Close))
WORK: Final = Vocabulary((Probe, Load, Loaded, State, Forward, Backward, Fetch, Result, Failed, Drop))


def body_layout(tensors: Sequence[TensorHeader], limits: Limits) -> list[tuple[int, ...]]:
    """The lengths of each tensor's buffers; refuses tensors that are too many, too deep, named twice or mislabelled."""
    if len(tensors) > limits.max_tensors:
        raise FrameTooLarge(
            f"tensors: {len(tensors)} in one message, at most {limits.max_tensors} are accepted",
            fix="send them in several messages, or raise Limits.max_tensors on the receiving side",
        )
    seen: set[str] = set()
    for tensor in tensors:
        if len(tensor.head.shape) > limits.max_dims:
            raise FrameTooLarge(
                f"tensor {tensor.name!r}: {len(tensor.head.shape)} dimensions, at most {limits.max_dims} are accepted",
                fix="reshape it, or raise Limits.max_dims on the receiving side",
            )
        if tensor.name in seen:
            raise ProtocolViolation(
                f"tensor {tensor.name!r} appears twice in one message", fix="name tensors uniquely"
            )
        seen.add(tensor.name)
    return [_lengths(tensor.head, limits.max_tensor) for tensor in tensors]


def _lengths(head: TensorHead, limit: int) -> tuple[int, ...]:
    if head.meta:
        return buffer_lengths(head, limit)
    return _plain_lengths(head.codec, head.dtype, head.shape, limit)


@lru_cache(maxsize=1024)
def _plain_lengths(codec: str, dtype: str, shape: tuple[int, ...], limit: int) -> tuple[int, ...]:
    # The same few heads come with every step; checking one anew costs 10 us, a tenth of a small message's way.
    return buffer_lengths(TensorHead(codec, dtype, shape), limit)


def slice_body(tensors: Sequence[TensorHeader], body: memoryview, limits: Limits) -> dict[str, Encoded]:
    """Each tensor as views of the body, without a copy; the tensors must tile the body exactly."""
    layout = body_layout(tensors, limits)
    described = sum(map(sum, layout))
    if described != len(body):
        raise FrameCorrupt(
            f"tensors describe {described} bytes but the body has {len(body)}",
            fix="the header does not belong to this body; check the sender's codec",
        )
    encoded: dict[str, Encoded] = {}
    at = 0
    for tensor, lengths in zip(tensors, layout, strict=True):
        views = []
        for length in lengths:
            views.append(body[at : at + length])
            at += length
        encoded[tensor.name] = Encoded(tensor.head, tuple(views))
    return encoded
