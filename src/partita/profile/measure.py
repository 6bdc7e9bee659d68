"""What each stage of a model costs here, and the whole.

Rules: every part is fed with the values it would really get; all parts are timed in rounds, so that a noisy moment
does not fall on one of them; a stage is worth what it costs inside a longer part (see calibrate), so that the sum
over the stages of a part is the time of that part.

`forward` is a pass that keeps nothing. `backward` is what a training step costs beyond it: keeping the graph and
going back, in train mode; forward + backward is a whole step without the optimizer.
The process keeps its heap from here on (see heap): the processes that run parts should too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..engine import Captured
from ..errors import BadDocument
from ..graph import Chain, Energy, Profile, StageCost
from .bench import Bench, Listener, Taken
from .calibrate import Calibration
from .device import this_device
from .energy import Meter
from .heap import steady_heap
from .rounds import Effort
from .threads import use_threads


@dataclass(frozen=True, slots=True)
class Measurement:
    """A profile, and how far the stages run alone were from the whole."""

    profile: Profile
    calibrations: tuple[Calibration, ...]


def measure(
    model: Captured,
    *,
    batches: Sequence[int] = (1, 8),
    effort: Effort | None = None,
    threads: int | None = None,
    backward: bool = False,
    meter: Meter | None = None,
    progress: Listener | None = None,
) -> Profile:
    """The profile of a model on this device."""
    return measure_calibrated(
        model,
        batches=batches,
        effort=effort,
        threads=threads,
        backward=backward,
        meter=meter,
        progress=progress,
    ).profile


def measure_calibrated(
    model: Captured,
    *,
    batches: Sequence[int] = (1, 8),
    effort: Effort | None = None,
    threads: int | None = None,
    backward: bool = False,
    meter: Meter | None = None,
    progress: Listener | None = None,
) -> Measurement:
    """The profile, with the calibration of every batch size and kind of work beside it."""
    if not batches or any(batch < 1 for batch in batches):
        raise BadDocument(
            "batches", [f"{tuple(batches)!r} is not a list of sizes of 1 or more"], fix="give --batch 1,8"
        )
    steady_heap()
    with use_threads(model, threads) as (ready, count):
        sizes = _sizes(model.chain, batches)
        bench = Bench(ready, effort or Effort(), sizes, backward, meter, progress)
        taken = [bench.batch(size) for size in bench.batches]
    chain = model.chain
    profile = Profile(
        model=chain.name,
        digest=chain.digest,
        device=this_device(threads=count, engine=chain.engine),
        stages=tuple(_stage_cost(chain, index, taken) for index in range(len(chain))),
        whole=_whole_cost(chain, taken),
        source=_source(chain, bench),
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Measurement(profile, tuple(row for one in taken for row in one.calibrations))


def _sizes(chain: Chain, asked: Sequence[int]) -> list[int]:
    """The batch sizes to measure: those asked for, or the one of a model whose batch dimension is fixed."""
    shapes = [chain.tensors[name].shape or () for name in chain.inputs]
    leading = [shape[0] for shape in shapes if shape]
    if "batch" in chain.symbols or any(isinstance(size, str) for size in leading):
        return sorted(set(asked))
    return [next((size for size in leading if isinstance(size, int)), 1)]


def _stage_cost(chain: Chain, index: int, taken: Sequence[Taken]) -> StageCost:
    stage = chain.stages[index]
    return StageCost(
        name=stage.name,
        forward={one.batch: one.stages["forward"][index] for one in taken},
        backward={one.batch: one.stages["backward"][index] for one in taken if "backward" in one.stages},
        param_bytes=chain.part_bytes(index, index + 1),
        peak_bytes={one.batch: one.peaks[index] for one in taken},
        energy={one.batch: _share_of(one, index) for one in taken if one.energy},
    )


def _share_of(taken: Taken, index: int) -> Energy:
    """A stage's joules: those of the whole by its share of the time. A stage is too short to be metered."""
    energy, whole = taken.energy, taken.whole["forward"].median
    if energy is None:  # pragma: no cover - callers ask only where there is energy
        raise AssertionError(index)
    share = taken.stages["forward"][index].median / whole if whole else 1 / len(taken.peaks)
    return Energy(energy.joules * share, f"{energy.source}, divided by time", measured=False)


def _whole_cost(chain: Chain, taken: Sequence[Taken]) -> StageCost:
    return StageCost(
        name=chain.name,
        forward={one.batch: one.whole["forward"] for one in taken},
        backward={one.batch: one.whole["backward"] for one in taken if "backward" in one.whole},
        param_bytes=chain.part_bytes(0, len(chain)),
        peak_bytes={one.batch: max(one.peaks) for one in taken},
        energy={one.batch: one.energy for one in taken if one.energy},
    )


def _source(chain: Chain, bench: Bench) -> str:
    joined = len(chain) - len(bench.spans)
    if not joined:
        return "measured"
    stages = "1 stage shares the time of a neighbour by its operators"
    if joined > 1:
        stages = f"{joined} stages share the time of a neighbour by their operators"
    return f"measured in {len(bench.spans)} parts; {stages}"
