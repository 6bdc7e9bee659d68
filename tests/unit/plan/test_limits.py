"""Limits as data."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.graph import dump
from partita.plan import PLATFORMS, Limits, load_limits, platform, platforms


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_platform_states_its_source_and_date(name):
    """No figure without saying where it is from."""
    limits = platform(name)
    assert limits.source
    assert limits.date


def test_limits_come_from_the_table_of_platforms():
    """One source of truth: what planning bounds is what the platforms say."""
    assert dict(PLATFORMS) == {name: one.limits for name, one in platforms().items()}
    assert len(PLATFORMS) == len(platforms())


def test_limits_survive_json():
    """A platform dumped is a file that a user can change."""
    assert load_limits(dump(platform("aws-lambda"))) == platform("aws-lambda")


def test_a_bad_file_lists_every_field():
    """Wrong fields of a user's file come together, with its name."""
    with pytest.raises(BadDocument) as caught:
        load_limits('{"memory": "much", "pakage": 3}', name="mine.json")
    assert "mine.json" in str(caught.value)
    assert len(caught.value.problems) == 2


def test_limits_of_nothing_are_refused():
    """A limit is above zero, and a runtime takes no less than nothing."""
    with pytest.raises(BadDocument) as caught:
        Limits(memory=0, seconds=float("inf"), runtime_memory=-1)
    assert len(caught.value.problems) == 3


def test_an_unknown_platform_lists_the_known_ones():
    """The way out names every platform."""
    with pytest.raises(BadDocument, match="aws-lambda"):
        platform("mainframe")


def test_only_set_limits_bind():
    """A place without limits has no bounds; the runtime counts against memory and package only."""
    assert Limits().bounds == {}
    limits = platform("edge-512mb")
    assert list(limits.bounds) == ["memory"]
    assert (limits.runtime("memory"), limits.runtime("seconds")) == (limits.runtime_memory, 0)
    assert limits.runtime_memory > 0
