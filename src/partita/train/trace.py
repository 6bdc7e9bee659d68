"""What a training told of itself, on disk: one JSON object a line, the run first, then steps, epochs and events.

    {"kind":"run", ...}   {"kind":"step","at":12.5, ...}   {"kind":"epoch", ...}   {"kind":"event", ...}

Rules: lines are only ever added; what was written survives the death of the process, and half a last line is dropped;
a training that goes back to a checkpoint leaves the steps it undoes where they are, and readers leave them out: those
from the step on to which `resumed`, `back` or `diverged` went, and those whose number comes again. `at` counts seconds
since the run line above.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, TypeVar, final

import msgspec

from ..errors import BadDocument, NotFound, UserError
from .reports import EpochReport, Event, StepReport

# A step takes about 600 bytes; a line beyond this is no line of ours, and is not taken into memory.
LONGEST_LINE: Final = 1 << 20
# Events after which the training stands at their step, whatever came before them.
_BACK: Final = frozenset(["resumed", "back", "diverged"])
_MOST_WAITING, _LONGEST_WAIT = 100, 1.0
_T = TypeVar("_T")


@dataclass(frozen=True)
class RunLine:
    """What the lines below belong to. A training that goes on writes another one."""

    model: str
    digest: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    partita: str = ""
    plan: str = ""
    data: str = ""
    began: str = ""


@dataclass(frozen=True)
class Trace:
    """The history that holds: `undone` counts the steps that were left out because the training went back."""

    runs: tuple[RunLine, ...]
    steps: tuple[StepReport, ...]
    epochs: tuple[EpochReport, ...]
    events: tuple[Event, ...]
    undone: int = 0

    @property
    def run(self) -> RunLine:
        """What is trained."""
        return self.runs[0]


@final
class TraceWriter:
    """Adds to a trace, from where it ends. `rate` bounds the step lines a second; events and epochs always stay."""

    def __init__(
        self, path: Path, run: RunLine, *, rate: float | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        if rate is not None and not 0 < rate < inf:
            raise BadDocument("trace", [f"rate: {rate!r} is not above 0"], fix="leave it out for every step")
        check_trace(path, run.digest)
        _mend(path)
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"the trace {path} cannot be written: {error.strerror}", fix="name another run folder"
            ) from None
        self._clock, self._pause = clock, 1 / rate if rate else 0.0
        self._began = self._written = clock()
        self._kept = -inf
        self._done = 0
        self._lines: list[bytes] = []
        self._add(b'{"kind":"run",', run)
        self.flush()

    def add(self, report: StepReport | EpochReport | Event) -> None:
        """Write one report, soon; an event or an epoch at once."""
        now = self._clock()
        at = now - self._began
        match report:
            case StepReport():
                self._done = report.step + 1
                if now - self._kept < self._pause:
                    return
                self._kept = now
                self._add(b'{"kind":"step","at":%.3f,' % at, report)
            case EpochReport():
                self._add(b'{"kind":"epoch","at":%.3f,"after":%d,' % (at, self._done), report)
            case _:
                self._add(b'{"kind":"event","at":%.3f,' % at, report)
        late = now - self._written >= _LONGEST_WAIT or len(self._lines) >= _MOST_WAITING
        if late or not isinstance(report, StepReport):
            self.flush()

    def _add(self, head: bytes, report: object) -> None:
        # The fields follow the head inside one object.
        self._lines.append(head + msgspec.json.encode(report)[1:] + b"\n")

    def flush(self) -> None:
        """Hand every line to the system."""
        view = memoryview(b"".join(self._lines))
        self._lines.clear()
        self._written = self._clock()
        while view:
            view = view[os.write(self._file, view) :]

    def close(self) -> None:
        """Write what waits, and make sure of it."""
        if self._file < 0:
            return
        self.flush()
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_trace(path: Path | str) -> Trace:
    """The surviving history of a training."""
    path = Path(path)
    runs: list[RunLine] = []
    kept = _Kept()
    for number, line in enumerate(_lines(path), 1):
        found = _parsed(line, path, number)
        kind = found.pop("kind", None)
        where = f"{path} line {number}"
        if number == 1 and kind != "run":
            raise _no_trace(path, f"line 1 is {kind!r}, not a run")
        match kind:
            case "run":
                runs.append(_made(RunLine, found, where))
            case "step":
                kept.step(_made(StepReport, {**found, "loss": _number(found.get("loss"))}, where))
            case "epoch":
                loss = _number(found.get("loss"))
                kept.epoch(_made(EpochReport, {**found, "loss": loss}, where), found.get("after", 0))
            case "event":
                kept.event(_made(Event, found, where))
            case _:
                # A later version may tell more.
                continue
    if not runs:
        raise _no_trace(path, "is empty")
    steps = tuple(kept.steps)
    return Trace(
        tuple(runs), steps, tuple(epoch for _, epoch in kept.epochs), tuple(kept.events), kept.undone
    )


class _Kept:
    """The history while it is read."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []
        self.epochs: list[tuple[int, EpochReport]] = []
        self.events: list[Event] = []
        self.undone = 0

    def step(self, report: StepReport) -> None:
        self._back(report.step)
        self.steps.append(report)

    def epoch(self, report: EpochReport, after: int) -> None:
        self.epochs = [pair for pair in self.epochs if pair[1].epoch < report.epoch]
        self.epochs.append((after, report))

    def event(self, event: Event) -> None:
        self.events.append(event)
        if event.what in _BACK:
            self._back(event.step)

    def _back(self, step: int) -> None:
        """Leave out what was done from this step on."""
        while self.steps and self.steps[-1].step >= step:
            self.steps.pop()
            self.undone += 1
        while self.epochs and self.epochs[-1][0] > step:
            self.epochs.pop()


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines; what stands behind the last line end is half a line."""
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                if not line.endswith(b"\n"):
                    if len(line) == LONGEST_LINE:
                        raise _no_trace(path, f"a line is longer than {LONGEST_LINE} bytes")
                    return
                yield line
    except FileNotFoundError:
        raise NotFound(
            f"there is no trace {path}", fix="name the trace.jsonl in the folder of a run"
        ) from None
    except OSError as error:
        raise _no_trace(path, f"cannot be read: {error.strerror}") from None


def _parsed(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise _no_trace(path, f"line {number}: {error}") from None
    if not isinstance(found, dict):
        raise _no_trace(path, f"line {number} is no object")
    return found


def _made(noun: type[_T], found: dict[str, Any], where: str) -> _T:
    try:
        return msgspec.convert(found, noun)
    except msgspec.ValidationError as error:
        raise BadDocument(
            "trace", [f"{where}: {error}"], fix="name a trace.jsonl that Partita wrote"
        ) from None


def _number(value: object) -> object:
    """JSON has no word for what is not a number: a loss that left them is null."""
    return nan if value is None else value


def _no_trace(path: Path, problem: str) -> BadDocument:
    return BadDocument("trace", [f"{path}: {problem}"], fix="name a trace.jsonl that Partita wrote")


def check_trace(path: Path, digest: str) -> None:
    """Refuse to go on with the trace of another model; one that is not there yet is fine."""
    first = next(_lines(path), None) if path.exists() else None
    if first is None:
        return
    found = _parsed(first, path, 1)
    if found.get("kind") != "run":
        raise _no_trace(path, "line 1 is no run")
    if found.get("digest") != digest:
        raise BadDocument(
            "trace",
            [f"{path} is of {found.get('model')!r} with another digest"],
            fix="train into another folder: --run FOLDER",
        )


def _mend(path: Path) -> None:
    """Cut off half a last line."""
    if not path.exists():
        return
    whole = sum(len(line) for line in _lines(path))
    if whole < path.stat().st_size:
        os.truncate(path, whole)
