"""Rules of the conversation that a peer, or this side, breaks: each has its refusal."""

import numpy as np
import pytest

from partita.errors import ProtocolViolation, SessionMisused
from partita.wire.codec import parse_codec
from partita.wire.frame import FrameKind
from partita.wire.limits import Limits
from partita.wire.message import Ack, Close, Credit, Drop, Hello, Ping
from partita.wire.session import Session
from partita.wire.session_event import Settings
from partita.wire.session_state import SessionState

ID = "ab" * 16
RAW = parse_codec("raw")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seq": 3}, "seq: frame 3 follows frame 0"),
        ({"kind": FrameKind.CONTINUATION, "header_length": 0}, "without a message to continue"),
    ],
)
def test_broken_frames_are_named(two, work_frame, changes, text):
    """Each rule of the frames has its refusal."""
    with pytest.raises(ProtocolViolation, match=text):
        two.to_server(work_frame(**changes))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Ack(9), "ack seq: 9 was never sent"),
        (Credit(99, 1, 1), "credit channel: 99"),
        (Hello(1, ID, False, 0, {}), "Hello: not expected while the session is open"),
    ],
)
def test_broken_rules_are_named(two, session_bytes, message, text):
    """Each rule of the conversation has its refusal."""
    with pytest.raises(ProtocolViolation, match=text):
        two.to_server(session_bytes(message))


def test_a_message_inside_another_is_refused(two, work_frame):
    """A message ends before the next one of its channel starts."""
    two.to_server(work_frame(body_length=5000, size=5000, last=False, payload=(bytes(5000),)))
    with pytest.raises(ProtocolViolation, match="inside another message"):
        two.to_server(work_frame(seq=2))


def test_a_message_that_overflows_is_refused(two, work_frame):
    """Chunks that hold more than the message announced are refused at the chunk that does."""
    two.to_server(work_frame(body_length=5000, size=5000, last=False, payload=(bytes(5000),)))
    with pytest.raises(ProtocolViolation, match="bytes of a message of"):
        two.to_server(
            work_frame(
                seq=2,
                kind=FrameKind.CONTINUATION,
                header_length=0,
                size=9000,
                payload=(bytes(9000),),
                last=True,
            )
        )


def test_a_message_that_ends_early_is_refused(two, work_frame):
    """So is a last chunk that leaves bytes missing."""
    two.to_server(work_frame(body_length=90_000, size=5000, last=False, payload=(bytes(5000),)))
    with pytest.raises(ProtocolViolation, match="at its last chunk"):
        two.to_server(
            work_frame(seq=2, kind=FrameKind.CONTINUATION, header_length=0, size=9, payload=(bytes(9),))
        )


def test_work_before_the_greeting_is_refused(work_frame):
    """Nothing but the greeting is taken before it."""
    client = Session(ID)
    client.connected(0.0)
    with pytest.raises(ProtocolViolation, match="work before the greeting"):
        client.receive_data(work_frame(), 0.0)


def test_nothing_is_read_after_close(two, session_bytes, work_frame):
    """Frames behind a Close are not looked at."""
    two.client.receive_data(session_bytes(Close("done")) + work_frame(seq=77), two.now)

    assert two.client.state is SessionState.CLOSED


def test_a_flood_of_pings_is_refused(two, session_bytes):
    """Answers are not held back by credit, so their number has a bound of its own."""
    with pytest.raises(ProtocolViolation, match="1024 answers wait"):
        two.client.receive_data(b"".join(session_bytes(Ping(number)) for number in range(1025)), two.now)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((Drop(1, "p"), None, 99), "channel: 99"),
        ((Drop(1, "p"), {"x": RAW.encode(np.zeros((1,) * 17))}, 1), "17 dimensions"),
        ((Drop(1, "p" * 2000), None, 0), "a header of"),
        ((Drop(1, "p"), {"x": RAW.encode(np.zeros(5000, np.float32))}, 1), "a body of 20000 bytes"),
    ],
)
def test_what_the_other_side_would_refuse_is_refused_here(arguments, text):
    """The limits hold on the way out too, as this side's mistake."""
    session = Session(ID, Settings(limits=Limits(max_header=1000, max_body=10_000)))
    message, carried, channel = arguments
    with pytest.raises(SessionMisused, match=text):
        session.send(message, carried, channel=channel)


def test_buffers_must_fit_their_head():
    """A tensor whose buffers do not have the length its head says is not sent."""
    good = RAW.encode(np.zeros(4, np.float32))
    bad = type(good)(good.head, (bytes(15),))
    with pytest.raises(SessionMisused, match="'x': buffers of"):
        Session(ID).send(Drop(1, "p"), {"x": bad})
