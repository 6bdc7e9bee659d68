import os
from pathlib import Path

import pytest

from partita.errors import BadDocument, LimitExceeded
from partita.train.room_limits import MemoryWatch, RoomLimits, resident_bytes, trim_heap


def test_all_wrong_limits_are_named() -> None:
    """In one error."""
    with pytest.raises(BadDocument, match=r"visitors: 0.*idle: nan.*memory: -1"):
        RoomLimits(visitors=0, idle=float("nan"), memory=-1)


def test_memory_is_refused_above_the_bound_and_not_at_it() -> None:
    """Without a bound nothing is refused."""
    for held, most in ((100, 100), (100, 0), (None, 1)):
        MemoryWatch(most, read=lambda held=held: held, trim=lambda: None).check()  # type: ignore[misc]
    with pytest.raises(LimitExceeded, match="takes no new work above 100 B"):
        MemoryWatch(100, read=lambda: 101, trim=lambda: None).check()


def test_what_the_heap_keeps_is_given_back_first() -> None:
    """Freed memory is no shortage."""
    held = [200]
    MemoryWatch(100, read=lambda: held[0], trim=lambda: held.__setitem__(0, 50)).check()

    assert held == [50]


def test_the_memory_of_this_process_is_known_where_the_system_tells(tmp_path: Path) -> None:
    """Pages, in bytes; None where there is no such file or it says something else."""
    told = tmp_path / "statm"
    told.write_text("100 7 3 1 0 5 0\n")

    assert resident_bytes(told) == 7 * os.sysconf("SC_PAGE_SIZE")
    told.write_text("?")
    assert resident_bytes(told) is None
    assert resident_bytes(tmp_path / "none") is None
    trim_heap()
