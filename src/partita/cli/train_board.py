"""Where a training stands, as rows of text: what a terminal shows live, and what a log gets as lines.

Rules: taking a report in costs a few additions, and words are made only when they are asked for; what is not known
is left out, never shown as 0; the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from math import isfinite
from time import monotonic
from typing import Final, final

from ..graph import print_size
from ..train import EpochReport, Event, StepReport
from .render import milliseconds

# The weight of the newest step in what is shown: about the last twenty count.
_NEWEST: Final = 0.1
_BARS: Final = "▁▂▃▄▅▆▇█"
_POINTS, _SPARKS, _EVENTS = 64, 32, 4
_PROGRESS: Final = 24


class Smooth:
    """A mean that forgets: the newest counts for a tenth, the first does not linger."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, value: float) -> None:
        """One more; what is no number is left out."""
        if isfinite(value):
            self._sum += _NEWEST * (value - self._sum)
            self._weight += _NEWEST * (1.0 - self._weight)

    @property
    def value(self) -> float | None:
        """The mean, None before the first."""
        return self._sum / self._weight if self._weight else None


class Curve:
    """A long row of values in a few points: when it is full, every second is dropped and half as many are taken."""

    def __init__(self) -> None:
        self._points: list[float] = []
        self._every, self._seen = 1, 0

    def add(self, value: float) -> None:
        """One more value."""
        if self._seen % self._every == 0:
            self._points.append(value)
            if len(self._points) == _POINTS:
                self._points, self._every = self._points[::2], 2 * self._every
        self._seen += 1

    def sparks(self) -> str:
        """The curve as small bars, the newest at the right."""
        points = self._points
        if len(points) > _SPARKS:
            points = [points[at * (len(points) - 1) // (_SPARKS - 1)] for at in range(_SPARKS)]
        low, high = min(points, default=0.0), max(points, default=0.0)
        top = len(_BARS) - 1
        return "".join(_BARS[round((p - low) / (high - low) * top) if high > low else 0] for p in points)


@final
class Board:
    """Takes reports in, gives rows. `steps` is the number of steps in an epoch, learned from the first if not given."""

    def __init__(
        self, epochs: int, steps: int | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._epochs, self._steps, self._clock = epochs, steps, clock
        self._began = clock()
        self._last: StepReport | None = None
        self._of_epoch = 0
        self._loss, self._right, self._seconds, self._wait, self._count, self._joules = (
            Smooth() for _ in range(6)
        )
        self._curve = Curve()
        self._up = self._down = 0
        self._spent: float | None = None
        self._held: EpochReport | None = None
        self._events: deque[tuple[float, Event]] = deque(maxlen=_EVENTS)

    def step(self, report: StepReport) -> None:
        """Take a step in."""
        self._of_epoch = self._of_epoch + 1 if self._last and self._last.epoch == report.epoch else 1
        self._last = report
        self._loss.add(report.loss)
        if self._loss.value is not None:
            self._curve.add(self._loss.value)
        if report.accuracy is not None:
            self._right.add(report.accuracy)
        self._seconds.add(report.seconds)
        self._wait.add(report.wait)
        self._count.add(report.count)
        self._up += report.bytes_up
        self._down += report.bytes_down
        if report.joules is not None:
            self._joules.add(report.joules)
            self._spent = (self._spent or 0.0) + report.joules

    def epoch(self, report: EpochReport) -> None:
        """Take an epoch in."""
        self._steps = report.steps or self._steps
        self._held = report

    def event(self, event: Event) -> None:
        """Take an event in."""
        self._events.append((self._clock() - self._began, event))

    @property
    def left(self) -> float | None:
        """The seconds that the rest will take at the present pace; None while that is not known."""
        if self._last is None or self._steps is None or self._seconds.value is None:
            return None
        return max(self._epochs * self._steps - self._last.step - 1, 0) * self._seconds.value

    def rows(self) -> Iterator[tuple[str, str]]:
        """Everything, as names and values."""
        last = self._last
        if last is None:
            yield "training", "the first step is on its way"
        else:
            yield "epoch", self._progress(last)
            yield "plan", last.plan.partition(" | ")[0]
            yield (
                "window",
                f"K {last.window}, staleness {last.staleness}; codecs {last.codec_up} up, {last.codec_down} down",
            )
            if link := _link(last):
                yield "link", link
            yield "loss", f"{_number(self._loss.value)}  {self._curve.sparks()}"
            if accuracy := self._accuracy():
                yield "right", accuracy
            yield "speed", self._speed(last)
            if self._up or self._down:
                yield "sent", f"{print_size(self._up)} up, {print_size(self._down)} down"
            if self._spent is not None:
                yield (
                    "energy",
                    f"{self._joules.value:.3g} J per step, {self._spent:.4g} J so far ({last.joules_source})",
                )
        for at, event in self._events:
            yield f"+{duration(at)}", event.said.strip().partition("\n")[0]

    def line(self) -> str:
        """The same in one line, for logs."""
        last = self._last
        if last is None:
            return "the first step is on its way"
        whole = "" if self._steps is None else f"/{self._steps}"
        words = [
            f"epoch {last.epoch}/{self._epochs} step {self._of_epoch}{whole}",
            f"loss {_number(self._loss.value)}",
        ]
        words += [] if self._right.value is None else [f"right {self._right.value:.1%}"]
        words += [self._speed(last), f"{last.plan.partition(' | ')[0]} K={last.window}"]
        words += [link] if (link := _link(last)) else []
        words += [] if self.left is None else [f"{duration(self.left)} left"]
        return ", ".join(words)

    def _progress(self, last: StepReport) -> str:
        if self._steps is None:
            return f"{last.epoch} of {self._epochs}, step {self._of_epoch}"
        share = min((last.step + 1) / max(self._epochs * self._steps, 1), 1.0)
        done = round(share * _PROGRESS)
        left = "" if self.left is None else f", {duration(self.left)} left"
        bar = "━" * done + "─" * (_PROGRESS - done)
        return (
            f"{last.epoch} of {self._epochs}, step {self._of_epoch} of {self._steps}  {bar} {share:.0%}{left}"
        )

    def _accuracy(self) -> str:
        words = [] if self._right.value is None else [f"{self._right.value:.1%} in training"]
        held = self._held
        if held is not None and held.held_out_accuracy is not None:
            words.append(f"{held.held_out_accuracy:.1%} held out after epoch {held.epoch}")
        return ", ".join(words)

    def _speed(self, last: StepReport) -> str:
        seconds, count = self._seconds.value or 0.0, self._count.value or 0.0
        words = [f"{count / seconds:.4g} samples/s"] if seconds and count else []
        words.append(f"{milliseconds(seconds)} per step")
        if last.window:
            words.append(f"{milliseconds(last.latency)} for one")
        if seconds:
            words.append(f"waiting {min((self._wait.value or 0.0) / seconds, 1.0):.0%}")
        return ", ".join(words)


def epoch_line(report: EpochReport) -> str:
    """An epoch in a line that stays."""
    words = [f"epoch {report.epoch}: loss {report.loss:.4f}"]
    words += [] if report.accuracy is None else [f"right {report.accuracy:.2%}"]
    if report.held_out_accuracy is not None:
        words.append(f"held out {report.held_out_accuracy:.2%}")
    elif report.held_out_loss is not None:
        words.append(f"held-out loss {report.held_out_loss:.4f}")
    words.append(f"{report.steps} steps in {duration(report.seconds)}")
    if report.bytes_up or report.bytes_down:
        words.append(f"{print_size(report.bytes_up)} up, {print_size(report.bytes_down)} down")
    words += [] if report.joules is None else [f"{report.joules:.4g} J"]
    return ", ".join(words)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`: how long people wait."""
    whole = round(seconds)
    if whole < 1:
        return milliseconds(seconds) if seconds > 0 else "0 s"
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _link(report: StepReport) -> str:
    rates = (("up", report.rate_up), ("down", report.rate_down))
    words = [f"{name} {_rate(rate * 8)}" for name, rate in rates if rate is not None]
    words += [] if report.rtt is None else [f"round trip {milliseconds(report.rtt)}"]
    return ", ".join(words)


def _rate(bits: float) -> str:
    return f"{bits / 1e9:.3g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.3g} Mbit/s"


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.4g}"
