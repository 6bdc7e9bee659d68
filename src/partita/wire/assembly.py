"""One message on its way out, cut into chunks, and one on its way in, put together again. Pure.

Two rules. Outgoing tensor bytes are never copied: a chunk is a list of views. Incoming memory grows with what has
arrived, never with what was announced; a message that came in one piece is handed on as it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from ..errors import ProtocolViolation, SessionMisused
from .codec_head import Encoded
from .frame import Frame, FrameKind
from .limits import Limits
from .message import Buffer, Message, Probe, TensorHeader, Vocabulary, body_layout, slice_body

__all__ = ["Assembly", "Outgoing"]

_PROBE_CHUNKS: Final = 10
_SMALLEST_PROBE_CHUNK: Final = 8 << 10


def _flat(buffer: Buffer) -> memoryview:
    return memoryview(buffer).cast("B")


@final
class Outgoing:
    """A message in the sending queue of one channel."""

    __slots__ = (
        "_at",
        "_index",
        "_pieces",
        "_started",
        "body_length",
        "channel",
        "header_length",
        "largest_chunk",
        "message",
        "remaining",
    )

    def __init__(
        self, channel: int, header: bytes, buffers: Sequence[Buffer], message: Message | None = None
    ) -> None:
        self.channel, self.message = channel, message
        self._pieces = [memoryview(header), *buffers]
        self._index = self._at = 0
        self._started = False
        self.header_length = len(header)
        self.body_length = sum(len(buffer) for buffer in buffers)
        self.remaining = self.header_length + self.body_length
        # The first chunk measures nothing: of a probe it must be a small part.
        self.largest_chunk = self.remaining
        if isinstance(message, Probe):
            self.largest_chunk = max(self.remaining // _PROBE_CHUNKS, _SMALLEST_PROBE_CHUNK)

    @classmethod
    def of(
        cls,
        message: Message,
        tensors: Mapping[str, Encoded],
        channel: int,
        vocabulary: Vocabulary,
        limits: Limits,
    ) -> Outgoing:
        """A message and its tensors, checked against this side's own limits."""
        headers = [TensorHeader(name, tensor.head) for name, tensor in tensors.items()]
        views = [[_flat(buffer) for buffer in tensor.buffers] for tensor in tensors.values()]
        _check_own(headers, [tuple(map(len, each)) for each in views], limits)
        buffers = [view for each in views for view in each if len(view)]
        outgoing = cls(channel, vocabulary.encode(message, headers), buffers, message)
        for field_, value, limit in (
            ("header", outgoing.header_length, limits.max_header),
            ("body", outgoing.body_length, limits.max_body),
        ):
            if value > limit:
                raise SessionMisused(
                    f"{type(message).__name__}: a {field_} of {value} bytes, the limit is {limit}",
                    fix=f"send it in several messages, or raise Limits.max_{field_} on both sides",
                )
        return outgoing

    @property
    def begun(self) -> bool:
        """Whether any of it has left."""
        return self._started

    def cut(self, size: int, seq: int) -> Frame:
        """The next ``size`` bytes as a frame."""
        kind = FrameKind.CONTINUATION if self._started else FrameKind.START
        sizes = (0, 0) if self._started else (self.header_length, self.body_length)
        self._started = True
        self.remaining -= size
        return Frame(kind, self.channel, seq, not self.remaining, *sizes, tuple(self._take(size)), size)

    def _take(self, size: int) -> list[Buffer]:
        taken: list[Buffer] = []
        while size:
            piece = self._pieces[self._index]
            view = piece[self._at : self._at + size]
            size -= len(view)
            self._at += len(view)
            taken.append(view)
            if self._at == len(piece):
                self._index, self._at = self._index + 1, 0
        return taken


@final
@dataclass(slots=True)
class Assembly:
    """A message that is arriving on one channel."""

    header_length: int
    body_length: int
    held: int = 0
    _pieces: list[Buffer] = field(default_factory=list)

    @property
    def announced(self) -> int:
        """Bytes of the whole message."""
        return self.header_length + self.body_length

    def add(self, frame: Frame) -> None:
        """Take a chunk in; too many bytes, or the last one too early, is refused."""
        self.held += frame.size
        if self.held > self.announced or (frame.last and self.held < self.announced):
            raise ProtocolViolation(
                f"channel {frame.channel}: {self.held} bytes of a message of {self.announced} "
                f"{'at its last chunk' if frame.last else 'and more to come'}",
                fix="check that both sides run the same version of Partita",
            )
        self._pieces += frame.payload

    def finish(self, vocabulary: Vocabulary, limits: Limits) -> tuple[Message, dict[str, Encoded]]:
        """The message and its tensors."""
        header, body = self._split()
        message, tensors = vocabulary.decode(header)
        return message, slice_body(tensors, body.toreadonly(), limits)

    def _split(self) -> tuple[memoryview, memoryview]:
        head, rest = bytearray(), list(self._pieces)
        while rest and len(head) + len(rest[0]) <= self.header_length:
            head += rest.pop(0)
        missing = self.header_length - len(head)
        if missing:
            head += rest[0][:missing]
            rest[0] = memoryview(rest[0])[missing:]
        self._pieces = []
        return memoryview(head), _one(rest)


def _one(pieces: list[Buffer]) -> memoryview:
    return memoryview(pieces[0]) if len(pieces) == 1 else memoryview(bytearray().join(pieces))


def _check_own(headers: Sequence[TensorHeader], lengths: Sequence[tuple[int, ...]], limits: Limits) -> None:
    """What the other side would refuse is refused here first, as this side's fault."""
    try:
        expected = body_layout(headers, limits)
    except ProtocolViolation as error:
        raise SessionMisused(error.problem, fix=error.fix) from error
    for header, length, want in zip(headers, lengths, expected, strict=True):
        if length != want:
            raise SessionMisused(
                f"tensor {header.name!r}: buffers of {length} bytes, its head describes {want}",
                fix="encode it with parse_codec(...).encode(array)",
            )
