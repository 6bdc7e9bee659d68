import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.wire.flow import FIRST_WINDOW, ReceiveCredit, SendCredit, window_for
from partita.wire.meter import LinkEstimate


def link(mbit, ms):
    return LinkEstimate(None, mbit * 125_000, ms / 1000)


def test_an_unknown_link_gets_the_first_window():
    """Before anything was measured."""
    assert window_for(LinkEstimate(None, None, 0.1)) == FIRST_WINDOW


@pytest.mark.parametrize(("mbit", "ms"), [(10, 0), (10, 40), (20, 40), (100, 10), (1000, 1)])
def test_windows_fill_the_link_and_little_more(mbit, ms):
    """More than the link holds, and at most 100 ms of queue in front of control."""
    window, rate = window_for(link(mbit, ms)), mbit * 125_000

    assert window > rate * ms / 1000
    assert (window - rate * ms / 1000) / rate < 0.1


def test_a_quiet_window_leaves_the_link_half_empty():
    """So that its queue drains."""
    assert window_for(link(1000, 100), quiet=True) < 125_000_000 * 0.1


def test_windows_have_bounds():
    """32 KB and 16 MB."""
    assert window_for(link(0.001, 0)) == 32 << 10
    assert window_for(link(1e6, 100)) == 16 << 20


@given(st.integers(0, 1 << 24), st.integers(0, 1 << 24), st.integers(1, 1 << 24))
def test_a_chunk_never_passes_the_limit(limit, window, remaining):
    """Whatever was granted, and it is large enough to be worth a frame unless it is the rest."""
    credit = SendCredit(limit=limit)
    credit.granted(limit, window)
    chunk = credit.chunk(remaining, 1 << 22)

    assert credit.sent + chunk <= limit
    assert chunk in (0, remaining) or chunk >= 8 << 10


@given(st.lists(st.integers(32 << 10, 16 << 20), min_size=1, max_size=20))
def test_changing_windows_never_lock_up(windows):
    """When everything arrived, the sender can send again or is granted more: no window sequence stops the flow."""
    send, receive = SendCredit(), ReceiveCredit()
    for window in windows:
        for _ in range(50):
            chunk = send.chunk(1 << 30, 4 << 20)
            if not chunk:
                break
            send.sent += chunk
            assert receive.arrived(chunk)
        limit = receive.renew(window)
        if limit is not None:
            send.granted(limit, window)

        assert send.chunk(1 << 30, 4 << 20) > 0


def test_limits_only_rise():
    """A late or repeated Credit takes nothing back."""
    credit = SendCredit(limit=1000)
    credit.granted(500, 32 << 10)

    assert credit.limit == 1000
