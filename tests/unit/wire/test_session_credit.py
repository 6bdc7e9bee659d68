"""Bounds on what is under way: credit, unread messages, and what waits for its ack."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.errors import FrameTooLarge
from partita.wire.limits import Limits
from partita.wire.message import Drop, Forward
from partita.wire.session_event import Settings


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200_000)), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_credit_is_never_exceeded(settled, tensors, plan):
    """At no moment has a side sent more on a channel than the other allowed."""
    pair = settled()
    for number, (channel, size) in enumerate(plan):
        pair.client.send(Forward(number, "p"), tensors(size // 4) if channel else None, channel=channel)
    while pair.step():
        for ours, theirs in zip(pair.client._outbox.credits, pair.server._inbox.credits, strict=True):
            assert ours.sent <= ours.limit <= theirs.granted
    pair.settle()

    assert sorted(pair.requests()) == list(range(len(plan)))


def test_bytes_beyond_credit_are_refused(two, work_frame):
    """A sender that ignores its window is stopped by the receiver."""
    big = 70 << 10
    with pytest.raises(FrameTooLarge, match="credit was given for"):
        two.to_server(work_frame(body_length=1 << 20, size=big, last=False, payload=(bytes(big),)))


def test_unread_messages_stop_the_credit(settled, tensors):
    """What the application does not take is bounded; taking it lets the sender go on."""
    options = Settings(limits=Limits(max_held=100_000, max_retained=1 << 20))
    pair = settled(options)
    pair.released = False
    for number in range(20):
        pair.client.send(Forward(number, "p"), tensors(10_000))
    while pair.step():
        pass
    held = pair.server.held
    events, pair.released = list(pair.events["server"]), True
    for event in events:
        pair.server.release(event.size)
    pair.settle()

    assert held < 300_000
    assert pair.requests() == list(range(20))


def test_sending_waits_for_acks(settled, tensors):
    """Not more than max_retained is kept for saying it again."""
    pair = settled(Settings(limits=Limits(max_retained=50_000)))
    pair.client.send(Forward(1, "p"), tensors(100_000))
    while pair.step(down=False):
        assert pair.client._outbox.retained <= 50_000 + (64 << 10)
    pair.settle()

    assert pair.requests() == [1]
    assert pair.client.queued(1) == 0


def test_what_is_confirmed_counts_as_progress(two):
    """Both sides see the number grow by the frame that one of them sent."""
    before = two.client.acked, two.server.acked
    two.client.send(Drop(1, "p"))
    two.settle()

    assert before == (0, 0)
    assert (two.client.acked, two.server.acked) == (1, 1)
