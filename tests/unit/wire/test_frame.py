import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import FrameCorrupt, FrameTooLarge, ProtocolViolation
from partita.wire.frame import CHECK_UP_TO, PREFIX_BYTES, VERSION, Frame, FrameKind, FrameReader
from partita.wire.limits import MIN_CHUNK, Limits

SMALL = Limits(max_header=1000, max_body=200_000, max_chunk=100_000, max_channels=4)


def session_frame(payload=b"hello"):
    return Frame(FrameKind.SESSION, 0, 0, True, len(payload), 0, (payload,), len(payload))


def whole(header=b"head", body=b"body", seq=1, channel=1):
    size = len(header) + len(body)
    return Frame(FrameKind.START, channel, seq, True, len(header), len(body), (header, body), size)


def prefix(**changes):
    """A prefix with a right checksum and these fields."""
    fields = {"magic": b"PRTA", "version": VERSION, "kind": 2, "channel": 1, "flags": 1, "seq": 1}
    fields |= {"header": 4, "size": 8, "body": 4, "crc": 0} | changes
    packed = struct.pack(">4sBBBBQIIQI", *fields.values())
    return packed + struct.pack(">I", zlib.crc32(packed))


def read(data, limits=SMALL):
    return FrameReader(limits).feed(data)


frames = st.one_of(
    st.builds(session_frame, st.binary(max_size=300)),
    st.builds(whole, st.binary(min_size=1, max_size=300), st.binary(max_size=600), st.integers(1, 2**64 - 1)),
)


@given(frames)
def test_round_trip(frame):
    """What is encoded is read back, field by field."""
    (back,) = read(b"".join(frame.encode()))

    assert b"".join(back.payload) == b"".join(frame.payload)
    assert (
        back.kind,
        back.channel,
        back.seq,
        back.last,
        back.header_length,
        back.body_length,
        back.size,
    ) == (
        (frame.kind, frame.channel, frame.seq, frame.last, frame.header_length, frame.body_length, frame.size)
    )


@given(st.lists(frames, max_size=6), st.randoms(use_true_random=False), st.booleans())
def test_any_fragmentation(sent, source, tiny):
    """The same frames come out however the bytes are cut, down to one by one."""
    data = b"".join(b"".join(frame.encode()) for frame in sent)
    reader, got, at = FrameReader(SMALL), [], 0
    while at < len(data):
        step = 1 if tiny else source.randint(1, 400)
        got += reader.feed(data[at : at + step])
        at += step

    assert [b"".join(f.payload) for f in got] == [b"".join(f.payload) for f in sent]
    assert reader.pending == 0


@given(frames, st.data())
def test_any_mutation_is_refused_or_read(frame, data):
    """Changed bytes raise nothing but the ProtocolViolation family, and hold no more than the limits allow."""
    good = bytearray(b"".join(frame.encode()))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    reader = FrameReader(SMALL)
    try:
        got = reader.feed(good)
    except ProtocolViolation as error:
        assert error.fix
        return

    # Two changes of one byte can undo each other; then, and only then, the frame is the one that was sent.
    assert [b"".join(each.payload) for each in got] == [b"".join(frame.payload)]


@given(st.binary(max_size=300))
def test_noise_is_refused(noise):
    """Bytes of any other kind raise nothing but the ProtocolViolation family."""
    try:
        got = read(noise)
    except ProtocolViolation:
        return

    assert got == []
    assert len(noise) < PREFIX_BYTES


def test_encoding_does_not_copy():
    """The payload's buffers are handed on as they are."""
    body = bytearray(200_000)
    frame = Frame(FrameKind.START, 1, 1, True, 1, len(body), (b"h", memoryview(body)), len(body) + 1)

    assert frame.encode()[2].obj is body


def test_decoding_does_not_copy():
    """A payload that arrives in one piece is a view of it."""
    data = b"".join(whole(body=bytes(50_000)).encode())
    (frame,) = read(data)

    assert frame.payload[0].obj is data


def test_many_pieces_are_merged():
    """A frame that drips in is kept in few pieces, so that a piece's own cost can not be multiplied."""
    data = b"".join(whole(body=bytes(5000)).encode())
    reader = FrameReader(SMALL)
    for at in range(len(data) - 1):
        reader.feed(data[at : at + 1])

    assert len(reader._pieces) <= 17
    assert len(reader.feed(data[-1:])) == 1


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"version": 9}, ProtocolViolation, "version: the other side speaks frame version 9"),
        ({"kind": 7}, ProtocolViolation, "kind: 7"),
        ({"channel": 4}, ProtocolViolation, "channel: 4"),
        ({"flags": 4}, ProtocolViolation, "flags: 4"),
        ({"seq": 0}, ProtocolViolation, "seq: 0"),
        ({"kind": 1, "seq": 1}, ProtocolViolation, "seq: 1"),
        ({"kind": 1, "seq": 0}, ProtocolViolation, "body length of a session frame"),
        ({"header": 1001}, FrameTooLarge, "header length: 1001"),
        ({"size": 100_001}, FrameTooLarge, "payload length: 100001"),
        ({"body": 2**63}, FrameTooLarge, "body length: 9223372036854775808"),
        ({"size": 9}, ProtocolViolation, "payload length of a whole message: 9"),
        ({"kind": 3, "size": 8}, ProtocolViolation, "header length of a continuation: 8"),
        ({"flags": 0, "size": 8}, ProtocolViolation, "payload length of a first chunk: 8"),
        ({"kind": 1, "seq": 0, "flags": 0, "body": 0}, ProtocolViolation, "payload length of a first chunk"),
        ({"flags": 0, "size": 100, "body": 9999}, ProtocolViolation, "payload length of a chunk: 100"),
    ],
)
def test_a_bad_prefix_names_its_field(changes, error, text):
    """Each rule of the prefix has its refusal, with the field and its value."""
    with pytest.raises(error, match=text) as caught:
        read(prefix(**changes))

    assert type(caught.value) is error
    assert caught.value.fix


def test_another_protocol_is_told_so():
    """The first bytes of something else are not called corrupt."""
    with pytest.raises(ProtocolViolation, match="not a Partita frame"):
        read(b"HTTP/1.1 200 OK\r\nServer: another\r\nContent-Length: 0\r\n\r\n")


def test_a_changed_magic_later_is_corruption():
    """After a good frame the same bytes mean that the connection is broken."""
    reader = FrameReader(SMALL)
    reader.feed(b"".join(session_frame().encode()))
    with pytest.raises(FrameCorrupt, match="prefix"):
        reader.feed(b"X" * PREFIX_BYTES)


def test_a_changed_payload_is_found():
    """Small payloads are checked byte by byte."""
    data = bytearray(b"".join(whole().encode()))
    data[-1] ^= 1
    with pytest.raises(FrameCorrupt, match="payload crc32: 8 bytes of frame 1"):
        read(data)


def test_large_payloads_are_left_to_the_carrier():
    """Above CHECK_UP_TO only the prefix is checked, unless the sender asks for more."""
    frame = whole(body=bytes(CHECK_UP_TO))
    plain, checked = bytearray(b"".join(frame.encode())), bytearray(b"".join(frame.encode(check_up_to=2**31)))
    plain[-1] ^= 1
    checked[-1] ^= 1

    assert len(read(plain)) == 1
    with pytest.raises(FrameCorrupt):
        read(checked)


def test_a_reader_that_refused_refuses_on():
    """After a refusal the position in the stream is lost, and so is everything that follows."""
    reader = FrameReader(SMALL)
    for data in (b"X" * PREFIX_BYTES, b"".join(session_frame().encode())):
        with pytest.raises(ProtocolViolation, match="magic"):
            reader.feed(data)


def test_chunks_of_the_least_size_are_taken():
    """The smallest chunk that may be followed by another is MIN_CHUNK."""
    start = prefix(flags=0, size=MIN_CHUNK, body=MIN_CHUNK) + bytes(MIN_CHUNK)
    (frame,) = read(start)

    assert not frame.last
