import pytest

from partita.wire.meter import Rate, ReceiveMeter, RoundTrip, Sample


def test_the_first_chunk_does_not_count():
    """Its bytes were on their way before the clock started."""
    meter = ReceiveMeter()
    assert meter.arrived(1000, 1.0, message_bytes=100_000, ended=False) is None
    meter.arrived(1000, 1.02, message_bytes=100_000, ended=False)

    assert meter.arrived(500, 1.04, message_bytes=100_000, ended=True) == Sample(1500, pytest.approx(0.04))


def test_a_slow_link_is_told_of_soon():
    """Little that took long is a sample before the message ends."""
    meter = ReceiveMeter()
    meter.arrived(8000, 1.0, message_bytes=1 << 20, ended=False)
    assert meter.arrived(8000, 1.06, message_bytes=1 << 20, ended=False) is None

    assert meter.arrived(8000, 1.12, message_bytes=1 << 20, ended=False).bytes == 16000


def test_small_messages_measure_nothing():
    """They are over before the clock has moved."""
    meter = ReceiveMeter()
    meter.arrived(1000, 1.0, message_bytes=2000, ended=False)

    assert meter.arrived(1000, 2.0, message_bytes=2000, ended=True) is None


def test_long_messages_report_on_the_way():
    """A burst that is long enough is a sample, and the next one starts where it ended."""
    meter = ReceiveMeter()
    meter.arrived(1, 0.0, message_bytes=1 << 30, ended=False)
    first = meter.arrived(1 << 20, 1.0, message_bytes=1 << 30, ended=False)
    second = meter.arrived(1 << 21, 2.0, message_bytes=1 << 30, ended=False)

    assert (first, second) == (Sample(1 << 20, 1.0), Sample(1 << 21, 1.0))


def test_no_time_is_no_sample():
    """Chunks that arrive at the same moment say nothing."""
    meter = ReceiveMeter()
    meter.arrived(1000, 1.0, message_bytes=100_000, ended=False)

    assert meter.arrived(1000, 1.0, message_bytes=100_000, ended=True) is None


def test_an_interruption_starts_again():
    """What comes after a lost connection is another burst."""
    meter = ReceiveMeter()
    meter.arrived(1000, 1.0, message_bytes=100_000, ended=False)
    meter.interrupted()

    assert meter.arrived(1000, 9.0, message_bytes=100_000, ended=False) is None


def test_a_burst_after_a_stall_says_little():
    """A rate is bytes over seconds, so that a millisecond at 1 GB/s does not outweigh a second at 1 MB/s."""
    rate = Rate()
    rate.add(Sample(1_000_000, 1.0), 1.0)
    rate.add(Sample(100_000, 0.0001), 1.0001)

    assert rate.smoothed == pytest.approx(1.1e6, rel=0.01)


def test_a_slow_message_says_it_all():
    """A link that became slow is known for it after one long message."""
    rate = Rate()
    rate.add(Sample(100_000_000, 1.0), 1.0)
    rate.add(Sample(3_000_000, 3.0), 4.0)

    assert rate.smoothed < 1.2e6


def test_a_link_that_became_fast_is_known_for_it_after_short_messages():
    """What a slow link took long ago does not outweigh the few milliseconds that are enough now."""
    rate = Rate()
    rate.add(Sample(1_000_000, 1.0), 1.0)
    rate.add(Sample(250_000, 0.01), 3.0)

    assert rate.smoothed > 9e6


def test_the_highest_is_of_the_last_moments():
    """An old peak is forgotten; then the smoothed rate stands in."""
    rate = Rate()
    assert rate.highest(0.0) is None
    rate.add(Sample(2_000_000, 1.0), 0.0)
    rate.add(Sample(1_000_000, 1.0), 1.0)

    assert rate.highest(1.0) == 2_000_000
    assert rate.smoothed < rate.highest(3.5) < 2_000_000
    assert rate.highest(99.0) == rate.smoothed


def test_planners_hear_sooner_than_windows_follow():
    """A link that fell to a fortieth shows it in 0.4 s; windows remember longer."""
    rate = Rate()
    rate.add(Sample(12_500_000, 0.5), 0.5)
    for at in (0.6, 0.7, 0.8, 0.9):
        rate.add(Sample(62_500, 0.1), at)

    assert rate.smoothed < 2_500_000 < rate.highest(0.9)


def test_the_round_trip_is_the_shortest():
    """Queues only add; answers that nobody asked for, or of a lost connection, count nothing."""
    trip = RoundTrip()
    assert trip.shortest is None
    for number, seconds in enumerate((0.3, 0.1, 0.2)):
        trip.sent(number, 1.0)
        assert trip.answered(number, 1.0 + seconds)
    trip.sent(9, 1.0)
    trip.forget()

    assert not trip.answered(9, 1.01)
    assert trip.shortest == pytest.approx(0.1)
    assert trip.last == pytest.approx(0.2)
