"""A profile bound to one batch size, as arrays over the chain: what the search and the estimate both read.

Rules: numbers come from the profile alone; what it lacks and the question needs is refused, with the command that
measures it; a peak that was not measured is replaced by the tensors a stage reads and makes, which is its least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument
from ..graph import Chain, CodecCost, Profile
from .codec_option import RAW
from .crossing import readers
from .question import Question

Numbers = NDArray[np.float64]


def _sums(values: list[float]) -> Numbers:
    return np.concatenate(([0.0], np.cumsum(values)))


@dataclass(frozen=True)
class ChainCost:
    """What the model alone says, the same for every place: bytes of tensors, and by stage what is read and made."""

    chain: Chain
    readers: Mapping[str, list[int]]
    size: Mapping[str, int]
    read: Numbers
    made: Numbers
    passing: Numbers

    @classmethod
    def of(cls, chain: Chain, question: Question) -> ChainCost:
        size = question.tensor_bytes(chain)
        reads = readers(chain)
        count = len(chain)
        passing = np.zeros(count + 1)
        for name, stages in reads.items():
            first, last = chain.maker(name) + 1, stages[-1] if stages else 0
            if last > first:
                passing[first] += size[name]
                passing[last] -= size[name]
        alive = np.cumsum(passing)[:count]
        read, made = np.zeros(count), np.zeros(count)
        for index, stage in enumerate(chain.stages):
            inputs = set(stage.inputs)
            read[index] = sum(size[name] for name in inputs)
            made[index] = sum(size[name] for name in stage.outputs)
            # What a stage reads for the last time does not pass it by; what it reads and leaves does so only once.
            alive[index] -= sum(size[name] for name in inputs if reads[name][-1] > index)
        return cls(chain, reads, size, read, made, alive)


@dataclass(frozen=True)
class PlaceCost:
    """One place: sums over stages as arrays with a leading zero."""

    place: str
    profile: Profile
    ahead: Numbers
    backward: Numbers
    before: Numbers | None
    after: Numbers | None
    joules: Numbers | None
    active: Numbers
    kept: Numbers
    whole_steps: bool

    @classmethod
    def of(cls, place: str, profile: Profile, model: ChainCost, question: Question) -> PlaceCost:
        profile.check(model.chain)
        batch, count, frozen = question.batch, len(model.chain), question.frozen
        stages = profile.stages
        # A profile taken by cut, without backward times, is one of whole training steps: forward, replay and backward.
        whole_steps = not profile.trained and bool(profile.before or profile.after)
        train = question.mode == "train" and not whole_steps
        if train and not profile.trained:
            raise _lacks(place, profile, "backward times, which a plan for training needs", "--backward")
        peaks = np.array([stage.peak(batch) for stage in stages])
        joules = [stage.joules(batch) for stage in stages]
        known = [value for value in joules if value is not None]
        positions = range(count + 1)
        return cls(
            place=place,
            profile=profile,
            ahead=_sums([stage.seconds(batch) for stage in stages]),
            backward=_sums(
                [s.seconds(batch, "backward") if train and i >= frozen else 0.0 for i, s in enumerate(stages)]
            ),
            before=_row(profile, [(0, k) for k in positions], batch) if profile.before else None,
            after=_row(profile, [(k, count) for k in positions], batch) if profile.after else None,
            joules=_sums(known) if len(known) == count else None,
            active=np.maximum(peaks, model.read + model.made) + model.passing,
            kept=_sums(
                list(np.where(np.arange(count) < frozen, 0.0, np.maximum(peaks - model.read, model.made)))
            ),
            whole_steps=whole_steps,
        )

    def forward(self, start: int, stop: int) -> float:
        """Seconds forward, by the same rule as `Profile.seconds`."""
        if start >= stop:
            return 0.0
        if self.before is not None and start == 0:
            return float(self.before[stop])
        if self.after is not None and stop == len(self.ahead) - 1:
            return float(self.after[start])
        return float(self.ahead[stop] - self.ahead[start])

    def back(self, start: int, stop: int) -> float:
        """Seconds backward; 0 in inference."""
        return float(self.backward[stop] - self.backward[start])

    @property
    def watts(self) -> float:
        """The average power of a forward pass, used for seconds whose energy was not measured; 0 without a meter."""
        return 0.0 if self.joules is None else float(self.joules[-1] / max(self.ahead[-1], 1e-12))

    def codec(self, name: str) -> CodecCost:
        """Seconds per byte of a codec; raw is free where it was not measured, any other is refused."""
        cost = self.profile.codecs.get(name)
        if cost is None and name == RAW:
            return CodecCost(0.0, 0.0)
        if cost is None:
            raise _lacks(self.place, self.profile, f"what the codec {name!r} costs", "--codecs")
        return cost


def _row(profile: Profile, spans: list[tuple[int, int]], batch: int) -> Numbers:
    return np.array([profile.seconds(start, stop, batch) for start, stop in spans])


def _lacks(place: str, profile: Profile, what: str, flag: str) -> BadDocument:
    return BadDocument(
        f"profile of {profile.model!r} for {place!r} (device {profile.device.name!r})",
        [f"has no {what}"],
        fix=f"measure it there: partita profile {profile.model} {flag} -o {place}.json",
    )


def need_energy(cost: PlaceCost) -> None:
    """Refuse a profile without energy where the objective is energy."""
    if cost.joules is None:
        raise _lacks(cost.place, cost.profile, "energy, which this objective needs", "--watts 5")
