"""A cloud that was lost, dialled again: in the background while nothing needs it, else with everybody waiting.

Rules: training goes on meanwhile; nothing is changed here, whoever asks takes what was found; it ends when it is told
to, and a line that is found too late is hung up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from time import monotonic, sleep
from typing import TypeVar, final

from ..errors import ConnectionLost, PartitaError, SessionMisused, Unreachable
from .line import Line
from .messages import Begun
from .pair import Dial, Pair
from .reports import Happening

# From the first attempt on the pause doubles.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
# Where a training waits for it, the first attempt comes sooner.
_SOON = 0.2
_T = TypeVar("_T")


@final
class Absence:
    """The time in which the edge trains alone because the cloud is gone. It begins with this."""

    def __init__(self, pair: Pair, why: PartitaError | None, say: Callable[[Happening, str], None]) -> None:
        if pair.dial is None or pair.remote:
            raise SessionMisused("the plan in force needs the cloud", fix="go back to the last checkpoint")
        self._pair, self._say = pair, say
        if why is not None:
            say("lost", f"{why.problem}; the edge trains on alone, and the cloud is dialled again meanwhile")
        self._redial = Redial(pair.dial, pair.part())

    def over(self) -> bool:
        """Whether the cloud is back; its line is then in use again."""
        found = self._redial.found
        if found is None:
            return False
        self._pair.meet(*found)
        self._say("back", f"the cloud is there again, after {self._redial.attempts} calls")
        return True

    def end(self, *, wait: bool = False) -> None:
        """Whatever comes of it, it is not used. Who dials next must wait, or a late call takes the run over."""
        self._redial.stop()
        if wait:
            self._redial.join()


@final
class Redial:
    """Hangs up the old line, and dials until somebody answers. `found` is the new line and what the cloud said."""

    def __init__(self, dial: Dial, old: Line | None) -> None:
        self._dial, self._old = dial, old
        self._over = Event()
        self.found: tuple[Line, Begun] | None = None
        self.attempts = 0
        self._thread = Thread(target=self._work, name="partita-redial", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Dial no more; what was found and not taken is hung up."""
        self._over.set()
        found, self.found = self.found, None
        if found is not None:
            _hang_up(found[0])

    def join(self) -> None:
        """Wait until no call is under way any more."""
        self._thread.join()

    def _work(self) -> None:
        if self._old is not None:
            _hang_up(self._old)
        pause = _FIRST_PAUSE
        while not self._over.is_set():
            self.attempts += 1
            with suppress(PartitaError):
                found = self._dial()
                if self._over.is_set():
                    _hang_up(found[0])
                else:
                    self.found = found
                return
            self._over.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _hang_up(line: Line) -> None:
    with suppress(PartitaError):
        line.close()


def dialled_again(pair: Pair, patience: float, error: PartitaError, work: Callable[[], _T]) -> _T:
    """What work gives, once the cloud was dialled again and the work succeeds; or the error, when patience ends."""
    until, pause = monotonic() + patience, _SOON
    while True:
        pair.hang_up()
        try:
            pair.connect()
            return work()
        except (ConnectionLost, Unreachable) as problem:
            if monotonic() + pause > until:
                raise problem from error
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
