"""What is believed of link and places, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.graph import Link
from partita.train.context import Context, Reading
from partita.wire import LinkEstimate


def worked(context, factors, *, since=0.0, step=0.1, place="edge"):
    """A step every `step` seconds, so many times slower than predicted."""
    for number, factor in enumerate(factors, 1):
        context = context.with_work(place, 0.02 * factor, 0.02, since + number * step)
    return context


def test_nothing_seen_is_as_measured():
    """A place is as fast as its profile, the link as it was at the start."""
    context = Context(start=Link(3e6, 4e6, 0.05, shared=True))
    assert context.factor("edge", 5.0) == 1.0
    assert context.link == Link(3e6, 4e6, 0.05, shared=True)


@pytest.mark.parametrize("step", [0.02, 0.1, 0.5, 1.0])
def test_a_slowdown_that_lasts_is_believed_within_two_seconds(step):
    """A factor of 4 counts as at least 3.5 after two seconds of steps, quick or slow ones."""
    calm = worked(Context(), [1.0] * 8, step=step)
    slow = worked(calm, [4.0] * round(2 / step), since=8 * step, step=step)
    assert slow.factor("edge", 8 * step + 2) > 3.5


@given(st.floats(1.5, 50.0), st.sampled_from([0.02, 0.3, 2.0]))
def test_a_single_hiccup_moves_nothing(hiccup, step):
    """One slow step among equal ones changes no estimate."""
    context = worked(Context(), [1.0] * 5 + [hiccup] + [1.0] * 5, step=step)
    assert context.factor("edge", 11 * step) == pytest.approx(1.0)
    assert worked(Context(), [1.0] * 5 + [hiccup], step=step).factor("edge", 6 * step) == pytest.approx(1.0)


def test_what_was_long_not_seen_fades():
    """A cloud that was slow when it was left may be fast again, and can only be known by going back."""
    context = worked(Context(), [8.0] * 30, place="cloud")
    at = context.paces["cloud"].at
    assert context.factor("cloud", at + 5) == pytest.approx(8.0, rel=0.05)
    assert context.factor("cloud", at + 120) < 1.02


@pytest.mark.parametrize("pair", [(0.0, 1.0), (1.0, 0.0), (float("inf"), 1.0), (float("nan"), 1.0)])
def test_work_that_says_nothing_is_not_counted(pair):
    """No seconds, or none predicted, make no ratio."""
    assert Context().with_work("edge", *pair, 1.0) == Context()


def test_a_move_makes_the_next_sample_no_heir_of_the_last_plan():
    """The first odd step under another plan is a hiccup too, whatever was seen last under the old one."""
    context = worked(Context(), [1.0] * 5 + [9.0]).under_another_plan()
    assert worked(context, [9.0], since=1.0).factor("edge", 1.1) == pytest.approx(1.0)


def test_a_repeated_estimate_is_no_news():
    """The connection says the same while nothing large travels: then the estimate grows old."""
    told = LinkEstimate(1e6, 2e6, 0.02)
    context = Context().with_link(told, 1.0).with_link(told, 5.0)
    assert (context.up.at, context.down.at, context.rtt.at) == (1.0, 1.0, 1.0)
    assert context.link == Link(8e6, 16e6, 0.02)


def test_what_the_connection_does_not_know_stays_as_it_was():
    """None and nonsense teach nothing."""
    context = Context().with_link(LinkEstimate(None, 0.0, float("nan")), 1.0)
    assert (context.up, context.down, context.rtt) == (None, None, None)
    assert context.link == Context().link


def test_a_changed_link_is_followed_both_ways():
    """Forty times slower, and forty times faster again, within two seconds of samples each."""
    context = Context()
    for number in range(60):
        rate = 25e6 if number < 20 or number >= 40 else 0.625e6
        rate *= 1 + number * 1e-6  # never twice the same number
        context = context.with_link(LinkEstimate(rate, rate, 0.01), number * 0.1)
        if number == 39:
            assert context.link.up < 5.5e6
    assert context.link.up > 180e6


def test_a_probe_is_believed_at_once():
    """What was measured on purpose is no hiccup."""
    context = Context().with_link(LinkEstimate(0.6e6, 0.6e6, 0.01), 0.0)
    context = context.with_link(LinkEstimate(25e6, 25e6, 0.01), 3.0, probed=True)
    assert context.link.up == pytest.approx(200e6)


def test_a_quiet_link_asks_to_be_probed():
    """After a second or two without news, sooner in a hurry, later where a probe takes long."""
    fast = Context().with_link(LinkEstimate(2.5e6, 2.5e6, 0.01), 10.0)
    assert Context().needs_probe(0.0)
    assert [fast.needs_probe(10 + t) for t in (0.7, 1.4, 1.6)] == [False, False, True]
    assert fast.needs_probe(10.7, hurry=True)
    slow = Context().with_link(LinkEstimate(2.5e4, 2.5e4, 0.01), 10.0)
    assert [slow.needs_probe(10 + t) for t in (5, 14, 16)] == [False, False, True]


def test_probes_are_rarer_where_steps_need_the_link():
    """While the cloud works too small a message to be measured is no reason to fill the link."""
    context = Context().with_link(LinkEstimate(2.5e6, 2.5e6, 0.01), 10.0)
    context = worked(context, [1.0] * 40, since=10.0, place="cloud")
    assert [context.needs_probe(10 + t) for t in (2, 3.9, 4.1)] == [False, False, True]


def test_a_link_heard_one_way_only_asks_for_the_other():
    """A way that nothing large travels is quiet though the other is busy."""
    context = Context().with_link(LinkEstimate(2.5e6, 2.5e6, 0.01), 0.0)
    context = context.with_link(LinkEstimate(2.6e6, 2.5e6, 0.01), 2.0)
    assert context.needs_probe(2.0)
    assert not context.with_link(LinkEstimate(2.6e6, 2.5e6, 0.01), 2.0, probed=True).needs_probe(3.0)


def test_probes_fit_the_link():
    """A tenth of a second of the slower way, never too small to be measured, never large."""
    sizes = [Context().with_link(LinkEstimate(r, 1e9, 0.01), 0.0).probe_bytes for r in (1e3, 2e6, 1e9)]
    assert sizes == [96 << 10, 200_000, 256 << 10]


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=20))
def test_a_reading_stays_within_what_was_seen(values):
    """Smoothing never leaves the range of the samples."""
    reading = Reading.first(values[0], 0.0)
    for number, value in enumerate(values):
        reading = reading.seen(value, number * 0.3)
    assert min(values) * (1 - 1e-9) <= reading.value <= max(values) * (1 + 1e-9)


def stepped(context, seconds, *, since=0.0, count=8):
    """Steps that come so many seconds after each other."""
    for number in range(1, count + 1):
        context = context.with_step(seconds, since + number * seconds)
    return context


def test_silence_says_how_slow_the_link_must_be():
    """What is on its way for so long travels at no more than this; a way that was slower stays as it was."""
    context = stepped(Context().with_link(LinkEstimate(25e6, 1e3, 0.01), 0.0), 0.1)
    silent = context.with_silence(200_000, 2.0, 3.0)
    assert (silent.up.value, silent.down) == (1e5, context.down)


@pytest.mark.parametrize(("size", "seconds", "step"), [(0, 9.0, 0.1), (1000, 0.9, 0.1), (1000, 3.0, 1.0)])
def test_a_short_wait_is_no_silence(size, seconds, step):
    """Nothing on its way, less than a second, or less than four usual steps."""
    context = stepped(Context().with_link(LinkEstimate(25e6, 25e6, 0.01), 0.0), step)
    assert context.with_silence(size, seconds, 9.0) == context


def test_silence_before_the_first_step_needs_no_usual_one():
    """Then a second is enough; what was never measured stays unknown."""
    assert Context().with_silence(1000, 2.0, 3.0).up is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_step_without_time_says_nothing(seconds):
    """Clocks are not always as they should be."""
    assert Context().with_step(seconds, 1.0) == Context()


def test_steps_that_take_another_time_ask_for_a_probe():
    """Messages too small to be measured show a changed link by the time of their steps."""
    context = worked(Context(), [1.0] * 40, since=6.0, place="cloud")
    context = stepped(context, 0.1, since=9.0).with_link(LinkEstimate(2.5e6, 2.5e6, 0.01), 10.0)
    assert not stepped(context, 0.1, since=10.0, count=20).needs_probe(12.0)
    assert stepped(context, 0.3, since=10.0, count=7).needs_probe(12.0)


def test_a_surprising_probe_is_followed_by_another_one():
    """The second one confirms what the first one found."""
    calm = Context().with_link(LinkEstimate(2.5e6, 2.5e6, 0.01), 0.0)
    same = calm.with_link(LinkEstimate(2.4e6, 2.4e6, 0.01), 1.0, probed=True)
    other = calm.with_link(LinkEstimate(2.5e6, 9e6, 0.01), 1.0, probed=True)
    assert [context.needs_probe(1.7) for context in (same, other)] == [False, True]
