"""What falls due: heartbeats and what they measure, silence, greetings that never come."""

import pytest

from partita.wire.frame import FrameReader
from partita.wire.limits import Limits
from partita.wire.message import SESSION, Forward, Ping, Pong
from partita.wire.session import Session
from partita.wire.session_event import Stale

ID = "ab" * 16


def test_silence_is_noticed(two):
    """A connection on which nothing comes is called stale after the idle timeout."""
    due = two.now + two.client.settings.idle_timeout
    assert two.client.tick(due - 0.1) == []
    (event,) = two.client.tick(due)

    assert isinstance(event, Stale)


def test_a_greeting_that_never_comes_is_stale():
    """The idle timeout also holds while the session opens."""
    client = Session(ID)
    client.connected(0.0)

    assert isinstance(client.tick(client.next_timeout())[0], Stale)


def test_nothing_is_due_while_a_greeting_is_awaited_in_time():
    """A tick before the idle timeout does nothing."""
    client = Session(ID)
    client.connected(0.0)

    assert client.tick(1.0) == []


def test_heartbeats_measure_the_round_trip(two):
    """Pings go on time and their answers are counted."""
    due = two.client.next_timeout()
    two.now = due
    two.client.tick(two.now)
    two.settle()

    assert 0 <= two.client.link().rtt < 0.01
    assert two.client.peak(two.now).rtt is not None


def test_pings_are_answered(two, session_bytes):
    """A Ping gets a Pong of its number."""
    two.client.receive_data(session_bytes(Ping(42)), two.now)
    (frame,) = FrameReader(Limits()).feed(b"".join(two.client.next_chunk(two.now)))

    assert SESSION.decode(b"".join(frame.payload))[0] == Pong(42)


def test_a_pong_nobody_asked_for_is_ignored(two, session_bytes):
    """It measures nothing and harms nothing."""
    before = two.client.link()

    assert two.client.receive_data(session_bytes(Pong(99)), two.now) == []
    assert two.client.link() == before


def test_the_receiver_measures_and_the_sender_learns(two, tensors):
    """Both sides know the rate of what went from one to the other, by the receiver's clock."""
    for number in range(4):
        two.client.send(Forward(number, "p"), tensors(200_000))
    two.settle()

    assert two.client.link().up == pytest.approx(two.server.link().down, rel=0.01)
    assert two.client.peak(two.now).up == pytest.approx(two.client.link().up, rel=0.3)
