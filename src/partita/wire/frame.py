"""Bytes on the wire: a 40-byte prefix, then a slice of one message (its msgpack header, then its raw buffers).

    offset  size  field
         0     4  magic           b"PRTA"
         4     1  version         1
         5     1  kind            1 session, 2 start of a message, 3 continuation
         6     1  channel         0 is control, the others carry tensors
         7     1  flags           bit 0: last frame of its message; bit 1: the payload is checked
         8     8  seq             1, 2, 3... per direction and session; 0 for session frames
        16     4  header length   of the whole message (0 in a continuation)
        20     4  payload length  of this frame
        24     8  body length     of the whole message (0 in a continuation)
        32     4  payload crc32   if bit 1 is set, else 0
        36     4  prefix crc32    of bytes 0 to 35
        40        payload

Three rules. Every size is compared with a limit before memory is set aside for it. Encoding copies no tensor bytes and
decoding hands out views. The parser takes any fragmentation: WebSocket message borders mean nothing to it.

On checksums. The prefix is always checked; it costs nothing. zlib's crc32 runs at 1 to 7 GB/s, so checking every byte of
a 4 MB echo (four passes) took 2.4 ms of 6.5 on a quiet machine. Payloads up to CHECK_UP_TO are checked, which is all of
them on a slow link, where chunks are small and errors live; larger ones rely on TCP's checksum, or on TLS's MAC.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from ..errors import FrameCorrupt, FrameTooLarge, ProtocolViolation
from .limits import MIN_CHUNK, Limits
from .message import Buffer

__all__ = ["CHECK_UP_TO", "PREFIX_BYTES", "VERSION", "Frame", "FrameKind", "FrameReader"]

MAGIC: Final = b"PRTA"
VERSION: Final = 1
CHECK_UP_TO: Final = 64 << 10
_PREFIX: Final = struct.Struct(">4sBBBBQIIQII")
_CRC: Final = struct.Struct(">I")
PREFIX_BYTES: Final = _PREFIX.size
_LAST, _CHECKED = 1, 2
# Pieces of a partly received frame are kept as they came; beyond this many they are copied together, because a
# view of one byte costs two hundred.
_MAX_PIECES: Final = 16


class FrameKind(IntEnum):
    """What a frame carries."""

    SESSION = 1
    START = 2
    CONTINUATION = 3


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``payload`` is a scatter list that together holds ``size`` bytes."""

    kind: FrameKind
    channel: int
    seq: int
    last: bool
    header_length: int
    body_length: int
    payload: tuple[Buffer, ...]
    size: int

    def encode(self, *, check_up_to: int = CHECK_UP_TO) -> list[Buffer]:
        """The frame as buffers to be written one after the other."""
        checked = self.size <= check_up_to
        flags = (_LAST if self.last else 0) | (_CHECKED if checked else 0)
        prefix = _PREFIX.pack(
            MAGIC,
            VERSION,
            self.kind,
            self.channel,
            flags,
            self.seq,
            self.header_length,
            self.size,
            self.body_length,
            _crc(self.payload) if checked else 0,
            0,
        )[:-4]
        return [prefix + _CRC.pack(zlib.crc32(prefix)), *self.payload]


def _crc(pieces: Sequence[Buffer]) -> int:
    value = 0
    for piece in pieces:
        value = zlib.crc32(piece, value)
    return value


@final
class FrameReader:
    """Turns bytes, in any fragmentation, into frames; once it has refused a byte it refuses all that follow."""

    __slots__ = ("_begun", "_checksum", "_frame", "_limits", "_missing", "_pieces", "_prefix", "_refused")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._begun = False
        self._prefix = bytearray()
        self._frame: Frame | None = None
        self._checksum: int | None = None
        self._missing = 0
        self._pieces: list[Buffer] = []
        self._refused: ProtocolViolation | None = None

    @property
    def pending(self) -> int:
        """Bytes held of a frame that is not complete."""
        return len(self._prefix) + (self._frame.size - self._missing if self._frame else 0)

    def feed(self, data: Buffer) -> list[Frame]:
        """The frames that these bytes complete."""
        if self._refused is not None:
            raise self._refused
        try:
            return self._feed(memoryview(data))
        except ProtocolViolation as error:
            self._refused = error
            raise

    def _feed(self, view: memoryview) -> list[Frame]:
        frames: list[Frame] = []
        at, end = 0, len(view)
        while at < end:
            if self._frame is None:
                take = min(PREFIX_BYTES - len(self._prefix), end - at)
                self._prefix += view[at : at + take]
                at += take
                if len(self._prefix) < PREFIX_BYTES:
                    break
                self._frame = self._open(bytes(self._prefix))
            take = min(self._missing, end - at)
            if take:
                self._add(view[at : at + take])
                at += take
            if not self._missing:
                frames.append(self._close(self._frame))
        return frames

    def _open(self, prefix: bytes) -> Frame:
        self._prefix.clear()
        magic, version, kind, channel, flags, seq, header, size, body, payload_crc, crc = _PREFIX.unpack(
            prefix
        )
        if magic != MAGIC and not self._begun:
            raise ProtocolViolation(
                f"magic: {magic!r} is not a Partita frame",
                fix="check the address: another protocol answers there",
            )
        if magic != MAGIC or crc != zlib.crc32(prefix[:-4]):
            raise FrameCorrupt(
                "prefix crc32: the frame's prefix was changed on the way",
                fix="reconnect; the session resumes by itself",
            )
        self._begun = True
        if version != VERSION:
            raise ProtocolViolation(
                f"version: the other side speaks frame version {version}, this side {VERSION}",
                fix="update the older of the two sides",
            )
        frame = self._checked_frame(kind, channel, flags, seq, (header, size, body))
        self._checksum = payload_crc if flags & _CHECKED else None
        self._missing = size
        return frame

    def _checked_frame(
        self, kind: int, channel: int, flags: int, seq: int, sizes: tuple[int, int, int]
    ) -> Frame:
        header, size, body = sizes
        limits, last = self._limits, bool(flags & _LAST)
        _refuse_unknown("kind", kind, kind in _KINDS)
        _refuse_unknown("flags", flags, flags <= _LAST | _CHECKED)
        _refuse_unknown("channel", channel, channel < limits.max_channels)
        _refuse_large("header length", header, limits.max_header, "max_header")
        _refuse_large("payload length", size, limits.max_chunk, "max_chunk")
        _refuse_large("body length", body, limits.max_body, "max_body")
        _refuse_unknown("seq", seq, (seq == 0) == (kind == FrameKind.SESSION))
        _refuse_unknown("body length of a session frame", body, kind != FrameKind.SESSION or body == 0)
        whole = header + body
        if kind == FrameKind.CONTINUATION:
            _refuse_unknown("header length of a continuation", whole, whole == 0)
        elif last:
            _refuse_unknown("payload length of a whole message", size, size == whole)
        else:
            _refuse_unknown("payload length of a first chunk", size, size < whole and kind == FrameKind.START)
        _refuse_unknown("payload length of a chunk", size, last or size >= MIN_CHUNK)
        return Frame(FrameKind(kind), channel, seq, last, header, body, (), size)

    def _add(self, piece: memoryview) -> None:
        self._missing -= len(piece)
        if len(self._pieces) >= _MAX_PIECES:
            merged = bytearray().join(self._pieces)
            self._pieces = [merged]
        if self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(piece)

    def _close(self, frame: Frame) -> Frame:
        checksum, pieces = self._checksum, tuple(self._pieces)
        self._frame, self._checksum, self._pieces = None, None, []
        if checksum is not None and _crc(pieces) != checksum:
            raise FrameCorrupt(
                f"payload crc32: {frame.size} bytes of frame {frame.seq} were changed on the way",
                fix="reconnect; the session resumes by itself",
            )
        return Frame(
            frame.kind,
            frame.channel,
            frame.seq,
            frame.last,
            frame.header_length,
            frame.body_length,
            pieces,
            frame.size,
        )


_KINDS: Final = frozenset(FrameKind)


def _refuse_unknown(field: str, value: int, allowed: bool) -> None:
    if not allowed:
        raise ProtocolViolation(
            f"{field}: {value} breaks the frame rules",
            fix="check that both sides run the same version of Partita",
        )


def _refuse_large(field: str, value: int, limit: int, name: str) -> None:
    if value > limit:
        raise FrameTooLarge(
            f"{field}: {value} bytes announced, at most {limit} are accepted",
            fix=f"send less, or raise Limits.{name} on the receiving side",
        )
