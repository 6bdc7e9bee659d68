"""The circumstances of a training as they are now: the link both ways, and how fast each place really is.

Rules: a context is a value, and time is an argument; one hiccup moves nothing, what lasts is believed within two
seconds of steps; nothing counts as known for longer than it was seen lately: the link is then to be probed, and a
place that is not heard of is expected to be again as it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, isfinite, log
from statistics import median
from types import MappingProxyType
from typing import Final

from ..graph import Link
from ..wire import LinkEstimate
from .roles import CLOUD

# Of three samples the one between counts, and it is taken over with this time constant: after two seconds of a factor
# of 4, 3.9 is believed.
_HICCUP: Final = 3
_SECONDS: Final = 0.4
# A place that was not heard of for so long is trusted less and less to be as slow as it was.
_FRESH, _FADES = 10.0, 20.0
# A link is probed when nothing was heard of it for so long; in a hurry, to confirm what was just seen. Where steps
# share it with the probes, less often.
_QUIET, _HURRY, _BUSY = 1.5, 0.6, 4.0
# What says that the link may be another one: a probe that found so many times more or less than was believed, or steps
# that take so many times longer or shorter than when the link was last heard of.
_SURPRISE: Final = 1.5
# A probe may take up this share of a slow link, but every so often there is one.
_SHARE, _SELDOM = 0.2, 15.0
_PROBE_SECONDS: Final = 0.1
# A link that fell to a hundredth since it was last heard of has to carry a probe of this size too.
_LEAST_PROBE, _LARGEST_PROBE = 96 << 10, 256 << 10
# Silence of a second, and of so many usual steps, says how slow the link must be at least.
_SILENCE, _SILENT_STEPS = 1.0, 4.0
# Before anything was measured: some link of a home.
_UNKNOWN: Final = Link(20e6, 20e6, 0.02)


@dataclass(frozen=True, slots=True)
class Reading:
    """A positive number that was seen again and again: what is believed of it, and since when nothing new came."""

    value: float
    at: float
    recent: tuple[float, ...]

    @classmethod
    def first(cls, value: float, at: float) -> Reading:
        """Seen once: there is nothing else to believe."""
        return cls(value, at, (value,))

    def seen(self, value: float, at: float, *, sure: bool = False) -> Reading:
        """One more sample. `sure` is for those that are no hiccup, such as a probe's."""
        recent = (value,) * _HICCUP if sure else (*self.recent, value)[-_HICCUP:]
        middle = value if sure else median(recent)
        weight = 1.0 if sure else 1 - exp(-max(at - self.at, 0.0) / _SECONDS)
        # By factors, not by differences: a link that is 40 times slower is as far away as one 40 times faster.
        return Reading(exp(log(self.value) + weight * (log(middle) - log(self.value))), at, recent)


@dataclass(frozen=True)
class Context:
    """What is known now. Rates are bytes per second; `paces` holds how many times slower than its profile a place is."""

    up: Reading | None = None
    down: Reading | None = None
    rtt: Reading | None = None
    paces: Mapping[str, Reading] = field(default_factory=dict)
    probed: float = float("-inf")
    told: LinkEstimate | None = None
    # What was measured before the first step, for what nobody has seen since.
    start: Link = _UNKNOWN
    # Seconds between steps, and what they were when the link was last heard of; whether the last probe was a surprise.
    steps: Reading | None = None
    usual: float = 0.0
    surprised: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "paces", MappingProxyType(dict(self.paces)))

    def with_link(self, told: LinkEstimate, now: float, *, probed: bool = False) -> Context:
        """After the connection was asked. What it repeats is no news: nothing large travelled meanwhile."""
        before = self.told or LinkEstimate(None, None, None)

        def read(name: str) -> Reading | None:
            value: float | None = getattr(told, name)
            old: Reading | None = getattr(self, name)
            if value is None or not (isfinite(value) and value > 0):
                return old
            if not probed and value == getattr(before, name):
                return old
            return Reading.first(value, now) if old is None else old.seen(value, now, sure=probed)

        up, down = read("up"), read("down")
        at, surprised = self.probed, self.surprised
        if probed:
            at, surprised = now, _strange(self.up, up) or _strange(self.down, down)
        heard = (up, down) != (self.up, self.down) or probed
        usual = self.steps.value if heard and self.steps is not None else self.usual
        return replace(
            self, up=up, down=down, rtt=read("rtt"), told=told, probed=at, usual=usual, surprised=surprised
        )

    def with_silence(self, size: int, seconds: float, now: float) -> Context:
        """While a step with so many bytes on its way is not answered for so long: the link has become slow.

        Frames are measured when they are whole; over a link that fell to a thousandth that takes half a minute.
        """
        usual = self.steps.value if self.steps is not None else 0.0
        if size <= 0 or seconds < max(_SILENCE, _SILENT_STEPS * usual):
            return self
        most = size / seconds
        up, down = (
            Reading.first(most, now) if old is not None and old.value > 2 * most else old
            for old in (self.up, self.down)
        )
        return replace(self, up=up, down=down)

    def with_step(self, seconds: float, now: float) -> Context:
        """After a step that came so long after the one before it."""
        if not (seconds > 0 and isfinite(seconds)):
            return self
        steps = Reading.first(seconds, now) if self.steps is None else self.steps.seen(seconds, now)
        return replace(self, steps=steps, usual=self.usual or steps.value)

    def with_work(self, place: str, measured: float, predicted: float, now: float) -> Context:
        """After a step: the seconds that a place's own work took, codecs included, and what its profile says."""
        if not (measured > 0 and predicted > 0 and isfinite(measured)):
            return self
        ratio, old = measured / predicted, self.paces.get(place)
        reading = Reading.first(ratio, now) if old is None else old.seen(ratio, now)
        return replace(self, paces={**self.paces, place: reading})

    def under_another_plan(self) -> Context:
        """After a move: samples of the plan before say nothing of hiccups of this one."""
        paces = {place: replace(r, recent=(r.value,) * _HICCUP) for place, r in self.paces.items()}
        return replace(self, paces=paces, steps=None, usual=0.0)

    def factor(self, place: str, now: float) -> float:
        """How many times slower than its profile a place is; what was long not seen fades away."""
        reading = self.paces.get(place)
        if reading is None:
            return 1.0
        faded = exp(-max(now - reading.at - _FRESH, 0.0) / _FADES)
        return exp(log(reading.value) * faded)

    @property
    def link(self) -> Link:
        """The link as the planner takes it, in bits per second."""
        return Link(
            self.up.value * 8 if self.up else self.start.up,
            self.down.value * 8 if self.down else self.start.down,
            self.rtt.value if self.rtt else self.start.rtt,
            self.start.shared,
        )

    @property
    def probe_bytes(self) -> int:
        """How large a probe should be: a tenth of a second of the slower way, within bounds."""
        rate = min(self.link.up, self.link.down) / 8
        return int(min(max(rate * _PROBE_SECONDS, _LEAST_PROBE), _LARGEST_PROBE))

    def needs_probe(self, now: float, *, hurry: bool = False) -> bool:
        """Whether nothing was heard of the link for so long that it should be measured on purpose."""
        heard = min(reading.at if reading else float("-inf") for reading in (self.up, self.down))
        takes = self.probe_bytes * 8 / min(self.link.up, self.link.down)
        cloud = self.paces.get(CLOUD)
        busy = cloud is not None and now - cloud.at < _BUSY
        hurry = hurry or self.surprised or self._changed
        wanted = _QUIET if hurry == busy else _HURRY if hurry else _BUSY
        pause = max(wanted, min(takes / _SHARE, _SELDOM))
        return now - max(heard, self.probed) >= pause

    @property
    def _changed(self) -> bool:
        """Whether steps take another time than when the link was last heard of."""
        return self.steps is not None and not 1 / _SURPRISE < self.steps.value / self.usual < _SURPRISE


def _strange(before: Reading | None, after: Reading | None) -> bool:
    return (
        before is not None
        and after is not None
        and not 1 / _SURPRISE < after.value / before.value < _SURPRISE
    )
