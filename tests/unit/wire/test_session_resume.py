"""Broken connections and damaged bytes: what is said again, what is refused, and when a session gives up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.errors import ConnectionLost, FrameCorrupt, ProtocolViolation
from partita.wire.codec import decode
from partita.wire.frame import VERSION, FrameReader
from partita.wire.limits import Limits
from partita.wire.message import Ack, Close, Drop, Forward, Hello, Welcome
from partita.wire.session import Session
from partita.wire.session_event import Closed, Corrupted, Opened, Received
from partita.wire.session_state import SessionState

ID = "ab" * 16


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_exactly_once_in_order_over_cuts(settled, tensors, data):
    """Whatever is sent arrives once and in the order of its channel, however often the connection breaks."""
    pair = settled()
    sent = {0: [], 1: [], 2: []}
    number = 0
    for _ in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["send", "send", "step", "cut", "half"]))
        if action == "send":
            number += 1
            channel = data.draw(st.sampled_from([0, 1, 2]))
            size = data.draw(st.sampled_from([0, 10, 5000, 60_000]))
            pair.client.send(
                Forward(number, "p"), tensors(size, number) if channel else None, channel=channel
            )
            sent[channel].append(number)
        elif action == "step":
            for _ in range(data.draw(st.integers(1, 20))):
                pair.step()
        elif action == "half":
            chunk = pair.client.next_chunk(pair.now)
            if chunk and pair.greeted:
                whole = b"".join(chunk)
                pair.to_server(whole[: data.draw(st.integers(1, len(whole)))])
            pair.cut()
            pair.connect()
        else:
            pair.cut()
            pair.connect()
    pair.settle()

    assert {channel: pair.requests(channel=channel) for channel in sent} == sent
    received = [e for e in pair.events["server"] if isinstance(e, Received) and e.tensors]
    assert all((decode(e.tensors["x"]) == e.message.request).all() for e in received)


def test_both_sides_resume(two, tensors):
    """What was unacknowledged is said again on the next connection, in both directions."""
    two.client.send(Forward(1, "p"), tensors(100_000))
    two.server.send(Forward(2, "p"), tensors(100_000))
    two.step()
    two.cut()
    two.connect()
    two.settle()

    assert (two.requests(), two.requests("client")) == ([1], [2])
    assert two.events["client"][1] == Opened(resumed=True)


def test_a_rewound_peer_can_not_resume(two, session_bytes):
    """A side that forgot what it had confirmed is refused: data would be missing."""
    two.client.send(Drop(1, "p"))
    two.settle()
    two.cut()
    two.client.connected(two.now)
    with pytest.raises(ConnectionLost, match="remembers 0 frames"):
        two.client.receive_data(session_bytes(Welcome(VERSION, two.client.id, True, 0, {})), two.now)


def test_the_server_refuses_a_rewound_client(two):
    """The same from the other side."""
    two.server.send(Drop(1, "p"))
    two.settle()
    two.cut()
    with pytest.raises(ConnectionLost, match="remembers"):
        two.server.accepted(Hello(VERSION, two.client.id, True, 0, {}), FrameReader(Limits()), two.now)


def test_an_answer_for_another_session_is_refused(session_bytes):
    """A Welcome names the session it welcomes."""
    client = Session(ID)
    client.connected(0.0)
    with pytest.raises(ProtocolViolation, match="instead of"):
        client.receive_data(session_bytes(Welcome(VERSION, "f" * 32, False, 0, {})), 0.0)


def test_an_acknowledged_repeat_is_not_said_again(two, session_bytes):
    """Frames that are confirmed while they wait to be repeated are dropped from the queue."""
    for number in range(5):
        two.client.send(Drop(number, "p"))
    while two.step(down=False):
        pass
    two.client.disconnected(two.now)
    two.client.connected(two.now)
    two.client.receive_data(
        session_bytes(Welcome(VERSION, two.client.id, True, 2, {0: 1 << 20, 77: 5})), two.now
    )
    two.client.receive_data(session_bytes(Ack(4)), two.now)
    left = []
    while chunk := two.client.next_chunk(two.now):
        left += [f.seq for f in FrameReader(Limits()).feed(b"".join(chunk)) if f.seq]

    assert left == [5]


def test_an_application_may_read_while_the_connection_is_gone(two, tensors):
    """What arrived before the cut can be taken; credit for it is given after the next greeting."""
    two.released = False
    two.client.send(Forward(1, "p"), tensors(10_000))
    two.settle()
    two.cut()
    two.server.ping()
    two.server.release(two.events["server"][-1].size)

    assert two.server.held == 0
    assert two.server.next_chunk(two.now) is None


def test_a_detached_session_gives_up_in_the_end(two):
    """Nobody waits for ever for a client that does not return."""
    two.cut()
    due = two.server.next_timeout()

    assert two.server.tick(due - 0.1) == []
    (event,) = two.server.tick(due)
    assert isinstance(event, Closed)
    assert event.code == "not-resumed"
    assert two.server.next_timeout() is None
    assert two.server.tick(due + 1) == []


def test_corruption_asks_for_another_connection(two):
    """Bytes that were changed on the way end the connection, not the session."""
    two.client.send(Drop(1, "p"))
    data = bytearray(b"".join(two.client.next_chunk(two.now)))
    data[-1] ^= 1
    (event,) = two.server.receive_data(data, two.now)
    two.cut()
    two.connect()
    two.settle()

    assert isinstance(event, Corrupted)
    assert two.requests() == [1]


def test_corruption_before_the_greeting_is_an_error(session_bytes):
    """There is no session yet that could be resumed."""
    client = Session(ID)
    client.connected(0.0)
    data = bytearray(session_bytes(Welcome(VERSION, ID, False, 0, {})))
    data[-1] ^= 1
    with pytest.raises(FrameCorrupt):
        client.receive_data(data, 0.0)


def test_a_damaged_hello_is_said_again(two, session_bytes):
    """A server that could not read the Hello of a resumption is tried once more, not believed for good."""
    two.cut()
    two.client.connected(two.now)
    (event,) = two.client.receive_data(session_bytes(Close("frame-corrupt", "payload")), two.now)

    assert event == Corrupted("payload")
    assert two.client.state is SessionState.OPENING
