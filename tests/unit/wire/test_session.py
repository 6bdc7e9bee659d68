"""The conversation as it goes when nothing goes wrong: greeting, messages, turns, probes, the end."""

import numpy as np
import pytest

from partita.errors import SessionMisused
from partita.wire.codec import decode
from partita.wire.message import Drop, Forward, Probe
from partita.wire.session import Session
from partita.wire.session_event import Closed, Opened, Received
from partita.wire.session_state import TURNS, SessionState, Step

ID = "ab" * 16


def test_greeting_opens_both_sides(two):
    """After Hello and Welcome both sides are open."""
    assert two.events["client"] == [Opened(resumed=False)]
    assert two.client.state is two.server.state is SessionState.OPEN


def test_a_message_arrives_whole(two, tensors):
    """Tensors come out as they went in, over many chunks."""
    two.client.send(Forward(1, "p"), tensors(500_000, 2.5))
    two.settle()
    (event,) = two.events["server"]

    assert event.message == Forward(1, "p")
    assert np.array_equal(decode(event.tensors["x"]), np.full(500_000, 2.5, np.float32))


def test_control_goes_first(two, tensors):
    """A control message passes the tensors that wait."""
    two.client.send(Forward(1, "p"), tensors(500_000))
    two.client.send(Drop(2, "p"))
    two.settle()

    assert two.requests() == [2, 1]


def test_tensor_channels_take_turns(two, tensors):
    """A small message on another channel does not wait for a large one to end."""
    two.client.send(Forward(1, "p"), tensors(500_000))
    two.client.send(Forward(2, "p"), tensors(1000), channel=2)
    two.settle()

    assert two.requests() == [2, 1]


def test_duplicates_are_dropped(two, work_frame):
    """A frame that comes twice is delivered once."""
    frame = work_frame()
    two.to_server(frame)
    two.to_server(frame)

    assert two.requests() == [1]


def test_close_tells_the_other_side(two):
    """The last chunk carries the reason."""
    two.client.close("done", "finished")
    two.step()

    assert two.events["server"] == [Closed("done", "finished")]
    with pytest.raises(SessionMisused, match="sends nothing"):
        two.client.send(Drop(1, "p"))


def test_a_session_that_never_opened_can_be_closed():
    """There is nobody to tell."""
    client = Session(ID)
    client.close()

    assert client.next_chunk(0.0) is None


def test_probes_are_answered_by_the_session(two, tensors):
    """The application of the probed side sees nothing of them."""
    two.client.send(Probe(1, 100_000), tensors(10))
    two.settle()

    assert two.events["server"] == []
    assert two.events["client"][-1].message == Probe(1, 0)


def test_a_probe_is_not_answered_behind_other_work(two, tensors):
    """A queue in front of the answer would make it measure the queue: it comes at once, and with nothing."""
    two.server.send(Forward(1, "p"), tensors(500_000))
    two.client.send(Probe(1, 100_000), tensors(10))
    two.step(down=False)
    two.settle()

    first = next(e for e in two.events["client"] if isinstance(e, Received))
    assert (first.message, first.tensors) == (Probe(1, 0), {})


def test_steps_outside_the_table_are_refused():
    """A session can not be connected twice."""
    client = Session(ID)
    client.connected(0.0)
    with pytest.raises(SessionMisused, match="'connect' is not possible while it is opening"):
        client.connected(0.0)


def test_the_table_has_no_dead_ends():
    """Every state but CLOSED can be left, and every state can be closed."""
    leavable = {state for (state, step), after in TURNS.items() if after is not state}

    assert leavable == set(SessionState) - {SessionState.CLOSED}
    assert all(TURNS[state, Step.CLOSE] is SessionState.CLOSED for state in SessionState)


def test_what_has_not_left_can_be_taken_back(two, tensors):
    """The other side never hears of it; what has begun to leave goes on."""
    messages = [Forward(1, "p"), Forward(2, "p"), Forward(3, "p")]
    for message in messages:
        two.client.send(message, tensors(500_000))
    two.step(down=False)

    assert two.client.waiting() == messages[1:]
    assert [two.client.withdraw(message) for message in messages] == [False, True, True]
    two.settle()
    assert two.requests() == [1]
    assert two.client.idle


def test_a_probe_travels_in_small_chunks(two, tensors):
    """Its first chunk measures nothing, whatever the window has grown to."""
    for number in range(20):
        two.client.send(Forward(number, "p"), tensors(200_000))
    two.settle()
    two.client.send(Probe(1, 0), tensors(25_000))

    assert sum(map(len, two.client.next_chunk(two.now))) < 12_000
