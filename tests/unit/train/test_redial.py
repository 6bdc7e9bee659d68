"""A cloud that is away while the edge trains alone."""

from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from partita.errors import SessionMisused, Unreachable
from partita.train.messages import Begun
from partita.train.redial import Absence, Redial

GONE = Unreachable("nobody is there", fix="wait")
BEGUN = Begun(1, True, (), "cpu")
SECONDS = 20.0


class Line:
    """A line that knows whether it was hung up."""

    def __init__(self) -> None:
        self.closed = Event()

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def pair() -> Any:
    """A pair whose cloud answers the second call."""
    calls: list[int] = []

    def dial() -> tuple[Line, Begun]:
        calls.append(1)
        if len(calls) == 1:
            raise GONE
        return Line(), BEGUN

    met: list[tuple[Line, Begun]] = []
    old = Line()
    return SimpleNamespace(
        dial=dial, remote=False, part=lambda: old, old=old, met=met, meet=lambda *both: met.append(both)
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partita.train.redial._FIRST_PAUSE", 0.001)


def test_the_cloud_is_called_until_it_answers(pair: Any) -> None:
    """The old line is hung up, and the new one is in use once somebody looks."""
    said: list[str] = []
    absence = Absence(pair, GONE, lambda what, _: said.append(what))
    absence._redial._thread.join(SECONDS)

    assert pair.met == []
    assert absence.over()
    assert pair.old.closed.is_set()
    assert (said, pair.met[0][1]) == (["lost", "back"], BEGUN)


def test_nobody_is_told_of_a_line_that_was_not_lost(pair: Any) -> None:
    """A training that was begun without its cloud calls it all the same."""
    said: list[str] = []
    absence = Absence(pair, None, lambda what, _: said.append(what))
    absence.end()
    assert said == []


def test_an_absence_that_is_over_hangs_up_what_it_found(pair: Any) -> None:
    """Whoever stops waiting leaves no connection behind."""
    redial = Redial(pair.dial, None)
    redial._thread.join(SECONDS)
    found = redial.found
    assert found is not None
    redial.stop()
    assert found[0].closed.is_set()  # type: ignore[attr-defined]
    assert redial.found is None


def test_a_cloud_that_answers_too_late_is_hung_up() -> None:
    """The call was under way when it was given up."""
    line, asked, given_up = Line(), Event(), Event()

    def dial() -> Any:
        asked.set()
        given_up.wait(SECONDS)
        return line, BEGUN

    redial = Redial(dial, None)
    asked.wait(SECONDS)
    redial.stop()
    given_up.set()
    redial._thread.join(SECONDS)
    assert line.closed.is_set()
    assert redial.found is None


def test_a_plan_that_needs_the_cloud_cannot_do_without(pair: Any) -> None:
    """Half of its weights are there."""
    pair.remote = True
    with pytest.raises(SessionMisused):
        Absence(pair, GONE, lambda *_: None)
