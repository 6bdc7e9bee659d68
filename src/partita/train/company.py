"""Who goes along on a training's course, and what they are told of each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..wire import LinkEstimate
from .edge import Done, EdgeWorker
from .energy import EnergyMeter, StepEnergy
from .reports import EpochReport, Event, StepReport
from .settings import Settings


@dataclass(frozen=True)
class Company:
    """What the course needs besides the two sides."""

    settings: Settings
    patience: float
    listener: Callable[[Event | EpochReport], None] | None
    meter: EnergyMeter | None
    note: Callable[[StepReport], None] | None = None


def report_of(
    done: Done,
    worker: EdgeWorker,
    epoch: int,
    seconds: float,
    link: LinkEstimate | None,
    spent: StepEnergy | None,
) -> StepReport:
    """A finished step, as it is told of."""
    told = done.outcome
    return StepReport(
        step=done.step,
        epoch=epoch,
        loss=told.loss,
        right=told.right,
        count=told.count,
        seconds=seconds,
        latency=done.latency,
        plan=str(worker.plan),
        version=worker.version,
        window=worker.window,
        staleness=done.staleness,
        codec_up=worker.codec_up,
        codec_down=worker.codec_down,
        bytes_up=done.up,
        bytes_down=done.down,
        edge_seconds=sum(done.work.values()),
        cloud_seconds=done.cloud,
        wait=done.wait,
        rate_up=link.up if link else None,
        rate_down=link.down if link else None,
        rtt=link.rtt if link else None,
        rate=done.rate,
        joules=spent.joules if spent is not None else None,
        joules_source=spent.source if spent is not None else "",
    )
