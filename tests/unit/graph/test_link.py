import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.graph import Link, parse_link

rates = st.sampled_from([1e3, 2.5e5, 2e7, 1e9]) | st.floats(1e-3, 1e12)


@given(st.builds(Link, rates, rates, st.sampled_from([0.0, 0.04, 1.5]) | st.floats(0, 60), st.booleans()))
def test_a_link_parses_back(link: Link) -> None:
    """A printed link is read as it was."""
    assert parse_link(str(link)) == link


def test_the_short_form_means_both_ways() -> None:
    """`20mbit/40ms` is 20 Mbit/s each way and 40 ms round trip."""
    assert parse_link("20mbit/40ms") == Link(2e7, 2e7, 0.04)
    assert str(Link(2e7, 2e7, 0.04)) == "20mbit/40ms"


@pytest.mark.parametrize(
    "text", ["fast", "20mbit/soon", "up=1mbit", "up=1mbit,down=1mbit,colour=red", "", "20mbit/40ms/3"]
)
def test_a_text_that_is_no_link_is_refused_with_an_example(text: str) -> None:
    """The way out shows how a link is written."""
    with pytest.raises(BadDocument, match="write it like"):
        parse_link(text)


def test_impossible_links_are_refused_with_all_problems() -> None:
    """Rates are positive and times are not negative."""
    with pytest.raises(BadDocument) as caught:
        Link(0, -1, float("nan"))
    assert len(caught.value.problems) == 3
