"""A heap that keeps what it has."""

import sys

import pytest

from partita.profile import steady_heap


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is one of glibc")
def test_glibc_takes_the_setting_as_often_as_it_is_made():
    """Several measurements in one process do no harm."""
    assert steady_heap()
    assert steady_heap()
