"""The trace of a run while it trains: every report goes to the listener, and to a file in the run's folder.

Rules: a trace of another model is refused before the cloud is called; the file begins with the first report, so that a
cloud that does not answer leaves none; a report is written down before its listener hears of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, final

from ..graph import Chain
from ..plan import Plan
from ..profile import this_device
from .reports import EpochReport, Event, StepReport
from .settings import Settings
from .trace import RunLine, TraceWriter, check_trace

TRACE: Final = "trace.jsonl"
News = Event | EpochReport


@dataclass(frozen=True)
class Tracing:
    """Whether and how a trace is kept: `rate` bounds the step lines a second, `data` says what is trained on."""

    wanted: bool = True
    rate: float | None = None
    data: str = ""


@final
class Notebook:
    """Writes reports down where there is a folder for them, and passes the news on."""

    def __init__(
        self, folder: Path | None, tracing: Tracing, listener: Callable[[News], None] | None
    ) -> None:
        self._path = folder / TRACE if folder is not None and tracing.wanted else None
        self._tracing, self._listener = tracing, listener
        self._run: RunLine | None = None
        self._writer: TraceWriter | None = None

    def open(self, chain: Chain, settings: Settings, plan: Plan | None, threads: int | None) -> None:
        """From here on it is known what is trained; nothing is written yet."""
        if self._path is None:
            return
        check_trace(self._path, chain.digest)
        self._run = run_line(chain, settings, plan, threads, self._tracing.data)

    def news(self, report: News) -> None:
        """Something happened, or an epoch is over."""
        self.step(report)
        if self._listener is not None:
            self._listener(report)

    def step(self, report: StepReport | News) -> None:
        """Write one report down."""
        if self._path is None or self._run is None:
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = TraceWriter(self._path, self._run, rate=self._tracing.rate)
        self._writer.add(report)

    def close(self) -> None:
        """Write what waits."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def run_line(
    chain: Chain, settings: Settings, plan: Plan | None, threads: int | None, data: str = ""
) -> RunLine:
    """What the lines below it belong to."""
    from .. import __version__

    device = this_device(engine="torch", threads=threads)
    asked: dict[str, Any] = {**vars(settings), "optimizer": str(settings.optimizer)}
    return RunLine(
        model=chain.name,
        digest=chain.digest,
        settings=asked,
        device=f"{device.name}: {device.processor}, {device.runtime}",
        partita=__version__,
        plan=str(plan) if plan is not None else "",
        data=data,
        began=datetime.now(UTC).isoformat(timespec="seconds"),
    )
