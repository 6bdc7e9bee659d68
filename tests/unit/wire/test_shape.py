import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.wire.shape import LinkShape, parse_shape

rates = st.one_of(st.just(math.inf), st.floats(1e-3, 1e12))
times = st.floats(0, 60)
losses = st.floats(0, 0.5)
even = st.builds(lambda rate, rtt, loss: LinkShape(rate, rate, rtt, 0.0, loss), rates, times, losses)
shapes = even | st.builds(LinkShape, rates, rates, times, times, losses, st.booleans())


@given(shapes)
def test_what_it_prints_it_parses(shape):
    """Every shape has a text that gives it back exactly."""
    assert parse_shape(str(shape)) == shape


@pytest.mark.parametrize(
    ("text", "shape", "printed"),
    [
        ("20mbit/40ms/1%", LinkShape(20e6, 20e6, 0.04, 0.0, 0.01), "20mbit/40ms/1%"),
        ("10mbit", LinkShape(10e6, 10e6), "10mbit/0ms/0%"),
        ("unlimited/1ms", LinkShape(rtt=0.001), "unlimited/1ms/0%"),
        ("up=5mbit,down=20mbit,rtt=40ms", LinkShape(5e6, 20e6, 0.04), "up=5mbit,down=20mbit,rtt=40ms"),
        (" RATE=1gbit, half ", LinkShape(1e9, 1e9, half_duplex=True), "up=1gbit,down=1gbit,rtt=0ms,half"),
        ("rate=1mbit,jitter=5ms,loss=0.015", None, "up=1mbit,down=1mbit,rtt=0ms,jitter=5ms,loss=1.5%"),
    ],
)
def test_texts(text, shape, printed):
    """The forms people write, and the one form it prints."""
    parsed = parse_shape(text)

    assert shape is None or parsed == shape
    assert str(parsed) == printed


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("20/ms/foo/4", ["4 values", "rate: '20'", "rtt: 'ms'", "loss: 'foo'"]),
        ("up=5mbit,speed=3", ["'speed' is unknown"]),
        ("up=5mbit,up=6mbit", ["up: given twice"]),
        ("half=yes,up=1mbit", ["half: 'yes' is not written alone"]),
        ("rtt=5parsec,down=1mbit", ["rtt: '5parsec'"]),
        ("0mbit/90s/60%", ["up: 0 bit/s", "down: 0 bit/s", "rtt: 90 s", "loss: 0.6"]),
        ("", ["rate: ''"]),
    ],
)
def test_all_problems_are_said_at_once(text, problems):
    """A text with several mistakes lists each of them."""
    with pytest.raises(BadDocument) as caught:
        parse_shape(text)

    assert all(problem in str(caught.value) for problem in problems)


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused(text):
    """No text raises anything else."""
    try:
        shape = parse_shape(text)
    except BadDocument:
        return

    assert parse_shape(str(shape)) == shape
