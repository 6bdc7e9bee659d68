"""Where a training stands, as a checkpoint carries it: enough to go on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from typing import Any

from ..engine import Values
from ..graph import dump, load
from .edge import Done
from .guard import Watching
from .reports import EpochReport


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the steps of an epoch so far."""

    steps: int = 0
    samples: int = 0
    loss: float = 0.0
    right: int = 0
    judged: int = 0
    up: int = 0
    down: int = 0
    seconds: float = 0.0
    joules: float | None = None

    def plus(self, done: Done, seconds: float, joules: float | None) -> Totals:
        """With one more step."""
        told = done.outcome
        judged = told.count if told.right >= 0 else 0
        return Totals(
            self.steps + 1,
            self.samples + done.batch,
            self.loss + (told.loss * done.batch if isfinite(told.loss) else 0.0),
            self.right + max(told.right, 0),
            self.judged + judged,
            self.up + done.up,
            self.down + done.down,
            self.seconds + seconds,
            None if joules is None else (self.joules or 0.0) + joules,
        )

    def report(self, epoch: int, held_out: tuple[float, float | None] | None) -> EpochReport:
        """What the epoch was."""
        return EpochReport(
            epoch=epoch,
            steps=self.steps,
            seconds=self.seconds,
            loss=self.loss / max(self.samples, 1),
            accuracy=self.right / self.judged if self.judged else None,
            held_out_loss=held_out[0] if held_out else None,
            held_out_accuracy=held_out[1] if held_out else None,
            bytes_up=self.up,
            bytes_down=self.down,
            joules=self.joules,
        )


@dataclass(frozen=True)
class Standing:
    """`step` steps are done, `at` of them in `epoch` (the first is 1). `cap` bounds K after a divergence.

    `owned` are the states that rest with the edge; `digests` tell the memories of both sides apart.
    """

    model: str = ""
    step: int = 0
    epoch: int = 1
    at: int = 0
    plan: str = ""
    cap: int | None = None
    owned: tuple[str, ...] = ()
    totals: Totals = Totals()
    guard: Mapping[str, float] = field(default_factory=dict)
    epochs: tuple[EpochReport, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON can carry it."""
        return {"standing": dump(self, indent=None)}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Standing:
        """Back from a checkpoint's document."""
        return load(cls, str(document.get("standing", "")), name="checkpoint")

    def next_epoch(self, report: EpochReport) -> Standing:
        """At the start of the epoch after this one."""
        return replace(self, epoch=self.epoch + 1, at=0, totals=Totals(), epochs=(*self.epochs, report))


def guard_numbers(state: Watching) -> dict[str, float]:
    """The guard's state as JSON can carry it: what is not finite yet is left out."""
    return {name: value for name, value in asdict(state).items() if isfinite(value)}


def guard_from(numbers: Mapping[str, float]) -> Watching:
    """Back from a checkpoint."""
    whole = {each.name for each in fields(Watching) if each.type == "int"}
    known: dict[str, Any] = {n: int(v) if n in whole else v for n, v in numbers.items()}
    return Watching(**{"window": 0, **known})


LANE = "lane/"


def with_lanes(values: Values, lanes: Mapping[str, Any]) -> Values:
    """The states, and the memories of the lanes beside them."""
    for name, lane in lanes.items():
        values |= {f"{LANE}{name}/{key}": value for key, value in lane.export().items()}
    return values


def without_lanes(values: Values) -> tuple[Values, dict[str, Values]]:
    """The states, and the memories by lane."""
    states: Values = {}
    lanes: dict[str, Values] = {}
    for key, value in values.items():
        if key.startswith(LANE):
            lane, _, rest = key.removeprefix(LANE).partition("/")
            lanes.setdefault(lane, {})[rest] = value
        else:
            states[key] = value
    return states, lanes
