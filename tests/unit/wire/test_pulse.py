from partita.wire.pulse import Pulse


def test_beats_come_on_time():
    """Nothing is due before the heartbeat, a ping is at it."""
    pulse = Pulse(2.0)
    pulse.start(10.0)

    assert pulse.due == 12.0
    assert not pulse.beat(11.9, 0.1)
    assert pulse.beat(12.0, 0.1)


def test_every_fourth_ping_is_quiet():
    """The window is halved first, the ping follows when the queue has drained, its answer ends the quiet."""
    pulse = Pulse(2.0)
    pulse.start(0.0)
    now, pings = 0.0, 0
    while not pulse.quiet:
        now = pulse.due
        pings += pulse.beat(now, 0.1)

    assert pings == 3
    assert pulse.due == now + 0.15000000000000002
    assert pulse.beat(pulse.due, 0.1)
    pulse.pinged(7)
    pulse.answered(6)
    assert pulse.quiet
    pulse.answered(7)
    assert not pulse.quiet


def test_a_lost_answer_does_not_stop_the_heart():
    """While the quiet ping is unanswered others go, and a new connection starts anew."""
    pulse = Pulse(1.0)
    pulse.start(0.0)
    for _ in range(4):
        pulse.beat(pulse.due, None)
    assert pulse.quiet
    for number in range(3):
        assert pulse.beat(pulse.due, None)
        pulse.pinged(number)
    pulse.answered(2)
    assert pulse.quiet
    pulse.start(50.0)
    assert not pulse.quiet
