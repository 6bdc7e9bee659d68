"""Does the calibration still hold? A few early answers are run to the end, and the share that changes is watched.

Rules: pure and repeatable: which request is audited follows from a number and a count, and the whole state is a noun
that goes to disk and back; an alarm has a stated chance to be false, however often one looks; only answers that left
by confidence belong here, those forced out by load are reported as degraded instead; nobody sees here that the last
exit itself grew worse, which needs labels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from ..errors import BadDocument
from .calibrate_binomial import upper_bound
from .calibrate_thresholds import NEVER
from .tables import Calibration

# Drifts listened for, in points of share above the one expected: one detector each, so that small and large are found soon.
_DRIFTS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
# Observations kept for tightening: enough to find where the change began, and 100 KB on disk.
_KEPT: Final = 2000
# Steps between the present thresholds and none at all.
_TIGHTER: Final = 20
_CONFIDENCE: Final = 0.95
# Detectors multiply without bound once something drifts.
_LARGEST: Final = 1e300


@dataclass(frozen=True, slots=True)
class Audited:
    """One early answer that was run to the end: where it left, how sure, and whether the last exit agreed."""

    exit: int
    confidence: float
    agreed: bool


@dataclass(frozen=True)
class AuditState:
    """All that an audit remembers. `drawn` early answers were considered, `skipped` were chosen while there was no time;
    of those `seen`, `changed` were not what the last exit says. `detectors` hold one value for each size of drift;
    `alarmed` is the count at which the first alarm rang."""

    drawn: int = 0
    skipped: int = 0
    seen: int = 0
    changed: int = 0
    detectors: tuple[float, ...] = ()
    alarmed: int | None = None
    recent: tuple[Audited, ...] = ()


@dataclass(frozen=True)
class Tightening:
    """Thresholds under which recent answers keep to the share expected, and why. They are no calibration: calibrate anew."""

    thresholds: tuple[float, ...]
    since: int
    reason: str

    def applied(self, calibration: Calibration) -> Calibration:
        """The calibration under these thresholds. It promises nothing any more, so it names no drop."""
        return replace(calibration, thresholds=self.thresholds, max_drop=None, confidence=None)


class Audit:
    """Watches one calibration.

    `expected` is the share of early answers that the last exit changes while nothing drifts: `Examination.contradicted`.
    `rate` is the share of early answers audited. While that share is at most `expected`, the chance of any alarm in the
    first `horizon` observations is at most `false_alarm`, and alarms are on average at least horizon / false_alarm
    observations apart.
    """

    def __init__(
        self,
        calibration: Calibration,
        *,
        expected: float | None = None,
        rate: float = 0.01,
        false_alarm: float = 0.01,
        horizon: int = 10_000,
        draw: int | Callable[[], float] = 0,
        state: AuditState | None = None,
    ) -> None:
        if expected is None:
            expected = _promised(calibration)
        _check(expected, rate, false_alarm, horizon)
        self.calibration, self.expected, self.rate = calibration, expected, rate
        # Every drift in reach; the last lies half way to certainty, for shares that are high already.
        worse = (*(expected + drift for drift in _DRIFTS if expected + drift < 1), (1 + expected) / 2)
        self._changed = tuple(share / expected for share in worse)
        self._agreed = tuple((1 - share) / (1 - expected) for share in worse)
        self._limit = horizon / false_alarm
        self._draw = draw
        state = state or AuditState()
        detectors = state.detectors if len(state.detectors) == len(worse) else (0.0,) * len(worse)
        self._state = replace(state, detectors=detectors, recent=())
        self._recent = deque(state.recent, maxlen=_KEPT)

    @property
    def state(self) -> AuditState:
        """Everything remembered; `Audit(..., state=...)` goes on from it."""
        return replace(self._state, recent=tuple(self._recent))

    @property
    def alarmed(self) -> bool:
        """Whether drift was noticed. It stays so until the audit begins anew with another calibration."""
        return self._state.alarmed is not None

    def wants(self, *, idle: bool = True) -> bool:
        """Whether the early answer just given should be run to the end. Never while others wait: audits are not urgent."""
        drawn = self._state.drawn
        value = _uniform(self._draw, drawn) if isinstance(self._draw, int) else self._draw()
        chosen = value < self.rate
        missed = chosen and not idle
        self._state = replace(self._state, drawn=drawn + 1, skipped=self._state.skipped + missed)
        return chosen and idle

    def observe(self, agreed: bool, *, exit: int, confidence: float) -> bool:  # noqa: A002  # it is the word here
        """Note an early answer that was run to the end, and say whether drift has been noticed by now.

        Each detector is a Shiryaev-Roberts sum of likelihood ratios: on average it grows by at most 1 an observation
        while nothing drifts, so that a limit of horizon / false_alarm holds what is promised (Ville's inequality).
        """
        state = self._state
        factors = self._agreed if agreed else self._changed
        detectors = tuple(
            min(_LARGEST, (value + 1) * factor)
            for value, factor in zip(state.detectors, factors, strict=True)
        )
        rings = math.fsum(detectors) / len(detectors) >= self._limit
        seen = state.seen + 1
        self._recent.append(Audited(exit, confidence, agreed))
        self._state = replace(
            state,
            seen=seen,
            changed=state.changed + (not agreed),
            detectors=detectors,
            alarmed=seen if rings and state.alarmed is None else state.alarmed,
        )
        return self.alarmed

    def tighten(self) -> Tightening:
        """The most that still may leave early: the first thresholds, from the present ones upwards, that recent answers bear.

        Recent is what came since the change most likely began. Where no step is borne out, early answers are off.
        """
        since = self._change()
        recent = list(self._recent)[since:]
        # All steps are looked at, so each has its share of the doubt.
        confidence = 1 - (1 - _CONFIDENCE) / _TIGHTER
        for step in range(_TIGHTER):
            thresholds = _tighter(self.calibration.thresholds, step / _TIGHTER)
            kept = [one for one in recent if one.confidence >= thresholds[one.exit]]
            lost = sum(not one.agreed for one in kept)
            if kept and upper_bound(lost, len(kept), confidence) <= self.expected:
                reason = f"{lost} of {len(kept)} audited answers that would still leave early were changed"
                return Tightening(thresholds, len(recent), reason)
        off = (*(NEVER,) * (len(self.calibration.thresholds) - 1), 0.0)
        reason = f"no tighter thresholds are borne out by the {len(recent)} answers audited since the change"
        return Tightening(off, len(recent), reason)

    def _change(self) -> int:
        """Where among the recent the change most likely began: the largest sum of log ratios up to now, over all drifts."""
        best, begun = -math.inf, 0
        for changed, agreed in zip(self._changed, self._agreed, strict=True):
            total, gain, loss = 0.0, math.log(changed), math.log(agreed)
            for i in range(len(self._recent) - 1, -1, -1):
                total += loss if self._recent[i].agreed else gain
                if total > best:
                    best, begun = total, i
        return begun


def _tighter(thresholds: tuple[float, ...], step: float) -> tuple[float, ...]:
    """Doubt that an exit may have, made smaller in proportion; the last exit always answers."""
    # Squared: most of what matters lies close to certainty.
    return (*(max(one, 1 - (1 - one) * (1 - step) ** 2) for one in thresholds[:-1]), thresholds[-1])


def _promised(calibration: Calibration) -> float:
    """Without labels the drop promised is the share that the last exit changes: of all answers, so more of the early ones."""
    early = 1 - math.prod(calibration.stays[:-1])
    if calibration.labelled or calibration.max_drop is None or early <= 0:
        problem = "expected: the calibration does not say how often the last exit changes early answers"
        raise BadDocument("audit", [problem], fix="give expected=Examination.contradicted")
    return min(0.5, calibration.max_drop / early)


def _check(expected: float, rate: float, false_alarm: float, horizon: int) -> None:
    problems = [
        f"{name}: {value!r} is not between 0 and 1"
        for name, value in (("expected", expected), ("false_alarm", false_alarm))
        if not 0 < value < 1
    ]
    if not 0 <= rate <= 1:
        problems.append(f"rate: {rate!r} is not from 0 to 1")
    if horizon < 1:
        problems.append(f"horizon: {horizon!r} is not 1 or more")
    if problems:
        raise BadDocument(
            "audit", problems, fix="as in expected=0.02, rate=0.01, false_alarm=0.01, horizon=10000"
        )


def _uniform(number: int, count: int) -> float:
    """A number from 0 to 1 that depends on nothing else, so that a restart goes on with the same choices."""
    digest = blake2b(f"{number}/{count}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
