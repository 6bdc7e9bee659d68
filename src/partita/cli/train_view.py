"""A training while it runs: a live view on a terminal, a line every few seconds elsewhere, or epochs and events only.

Rules: everything goes to stderr, results are for stdout; a report that comes too soon after the last picture draws
nothing, so that watching costs a hundredth of a training with steps of 10 ms at the most; the clock is an argument.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, TextIO, final

from ..train import EpochReport, Event, StepReport
from .train_board import Board, epoch_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

Manner = Literal["live", "lines", "quiet"]
# A picture takes 0.7 ms.
_LIVE, _LINES = 1 / 8, 5.0
_NAMES: Final = 10


def manner_of(stream: TextIO, *, as_json: bool, quiet: bool) -> Manner:
    """How to show a training: live where somebody watches."""
    if quiet:
        return "quiet"
    return "live" if stream.isatty() and not as_json else "lines"


@final
class TrainView:
    """Show reports as they come. A context: the terminal is left as it was."""

    def __init__(
        self,
        board: Board,
        manner: Manner,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._board, self._manner, self._clock = board, manner, clock
        self._stream = stream if stream is not None else sys.stderr
        self._pause = _LIVE if manner == "live" else _LINES
        self._shown = -_LIVE if manner == "live" else clock()
        self._console: Console | None = None
        self._live: Live | None = None

    def __enter__(self) -> TrainView:
        if self._manner == "live":
            from rich.console import Console
            from rich.live import Live

            self._console = Console(file=self._stream, highlight=False)
            self._live = Live(picture(self._board), console=self._console, auto_refresh=False)
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(picture(self._board), refresh=True)
            self._live.stop()
            self._live = None

    def step(self, report: StepReport) -> None:
        """One step is done."""
        self._board.step(report)
        now = self._clock()
        if now - self._shown >= self._pause and self._manner != "quiet":
            self._shown = now
            self._draw()

    def epoch(self, report: EpochReport) -> None:
        """One epoch is done: a line that stays."""
        self._board.epoch(report)
        self._say(epoch_line(report))

    def event(self, event: Event) -> None:
        """Something happened: said at once, but for checkpoints, which happen all the time."""
        if event.what == "checkpoint":
            return
        self._board.event(event)
        said = event.said.strip()
        # The board has room for one line; what is longer, as the reasons for a plan are, stands above it.
        if self._live is None or "\n" in said:
            self._say(said)
        if self._live is not None:
            self._draw()

    def _draw(self) -> None:
        if self._live is None:
            self._say(self._board.line())
        else:
            self._live.update(picture(self._board), refresh=True)

    def _say(self, line: str) -> None:
        if self._console is None:
            self._stream.write(line + "\n")
            self._stream.flush()
        else:
            from rich.text import Text

            self._console.print(Text(line))


def picture(board: Board) -> Text:
    """The rows of a board as one text: a table of Rich would take three times as long to draw."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for name, value in board.rows():
        text.append(f"{name:<{_NAMES}}", style="dim" if name.startswith("+") else "bold")
        text.append(f"{value}\n")
    return text
