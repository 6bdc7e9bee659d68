"""What a slice costs before anybody decides how its tensors travel: weights, activations, memory, seconds, by span.

Rules: a table is indexed [a, b] by legal position; weights count once per slice and again in the next; activations
are those alive at the worst moment, the slice's own inputs held throughout; a time that nobody measured is None.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import BadDocument, UnboundDimension
from ..graph import GIVEN, Chain, Profile, TensorSpec, symbols
from .document import bindings
from .grid import Index, Mask, Numbers, Rectangles, Uses, segments
from .question import ACTIVATIONS, TIMED, SliceQuestion

# Above so many legal positions the tables would take gigabytes; see `_thinned`.
MOST = 2_500


@dataclass(frozen=True)
class Tensors:
    """Everything that passes between stages, as arrays: who makes it, who reads it, its bytes.

    `who` and `stage` are pairs of tensor and reading stage, sorted; a model output is read at the end too. `last` is
    the last of them, GIVEN where nobody reads it.
    """

    names: tuple[str, ...]
    size: Numbers
    travels: Mask
    made: Index
    last: Index
    who: Index
    stage: Index
    answer: Mask
    count: int

    @classmethod
    def of(cls, chain: Chain, question: SliceQuestion) -> Tensors:
        """Of one chain, with every open dimension bound."""
        count = len(chain)
        made = dict.fromkeys(chain.inputs, GIVEN)
        for index, stage in enumerate(chain.stages):
            made.update(dict.fromkeys(stage.outputs, index))
        place = {name: at for at, name in enumerate(made)}
        pairs = [(place[n], i) for i, stage in enumerate(chain.stages) for n in set(stage.inputs)]
        pairs += [(place[name], count) for name in set(chain.outputs)]
        table = np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2)
        last = np.full(len(made), GIVEN, dtype=np.intp)
        last[table[:, 0]] = table[:, 1]
        specs = [chain.tensors[name] for name in made]
        return cls(
            names=tuple(made),
            size=_sizes(specs, bindings(chain, question.batch, question.dims)),
            travels=np.array([spec.travels for spec in specs], dtype=bool),
            made=np.fromiter(made.values(), np.intp, len(made)),
            last=last,
            who=table[:, 0],
            stage=table[:, 1],
            answer=last == count,
            count=count,
        )

    @property
    def given(self) -> Mask:
        """The model's inputs that somebody reads."""
        return np.asarray((self.made == GIVEN) & (self.last > GIVEN))

    def crossing(self, positions: Index) -> Mask:
        """Those that cross one of the positions between two slices."""
        inner = segments(np.minimum(self.last, self.count - 1), positions)
        # An answer crosses whenever it is not made in the last slice.
        later = np.where(self.answer, len(positions) - 2, inner)
        return np.asarray((self.last > GIVEN) & (later > np.maximum(segments(self.made, positions), 0)))

    def frontier(self, kept: Mask) -> Numbers:
        """The bytes of the kept tensors at every position, both ends included."""
        change = np.zeros(self.count + 2)
        used = kept & (self.last > self.made)
        np.add.at(change, self.made[used] + 1, self.size[used])
        np.add.at(change, self.last[used] + 1, -self.size[used])
        return np.cumsum(change)[: self.count + 1]


def _sizes(specs: list[TensorSpec], bind: dict[str, int]) -> Numbers:
    """Bytes of every tensor; 0 for one that has none of its own and so never crosses a cut."""
    try:
        return np.array([s.nbytes(bind) if s.travels else 0 for s in specs], dtype=np.float64)
    except UnboundDimension as error:
        dims = {dim for spec in specs if spec.travels for dim in spec.shape or () if dim not in bind}
        missing = sorted(frozenset().union(*map(symbols, dims)) - bind.keys())
        if not missing:
            raise
        raise UnboundDimension(
            f"how large the tensors are depends on {', '.join(missing)}, which nobody gave a value for",
            fix="give one: " + " ".join(f"--dim {name}=1" for name in missing),
        ) from error


def legal_positions(chain: Chain, tensors: Tensors) -> Index:
    """Where the chain can be cut, both ends included: `Chain.cuts` without building a cut for every stage."""
    stuck = replace(tensors, size=np.ones(len(tensors.size))).frontier(~tensors.travels)
    fine = stuck == 0
    fine[[position for position in chain.blocked if 0 < position < len(chain)]] = False
    fine[[0, -1]] = True
    return np.flatnonzero(fine)


def _thinned(positions: Index, tensors: Tensors) -> Index:
    """At most MOST of them: in every stretch of equal length those where the fewest bytes cross."""
    if len(positions) <= MOST:
        return positions
    crossing = tensors.frontier(np.ones(len(tensors.size), bool))[positions]
    groups = np.array_split(np.arange(1, len(positions) - 1), MOST - 2)
    chosen = [group[np.argmin(crossing[group])] for group in groups]
    return positions[[0, *chosen, len(positions) - 1]]


@dataclass(frozen=True)
class Costs:
    """One chain under one question. `held` is memory without what travels; `compute` one warm call, as measured.

    `threads` is how many processors the measurement used. `thinned` says that not every legal position is among
    `positions`, because there are too many.
    """

    chain: Chain
    question: SliceQuestion
    tensors: Tensors
    positions: Index
    weights: Numbers
    active: Numbers
    held: Numbers
    compute: Numbers | None
    threads: int
    distinct: float
    thinned: bool = False

    @classmethod
    def of(cls, chain: Chain, question: SliceQuestion, profile: Profile | None = None) -> Costs:
        """All tables, over the legal positions."""
        if not len(chain):
            raise BadDocument("chain", ["stages: there are none"], fix="give a model that computes something")
        if profile is None and question.objective in TIMED:
            raise BadDocument(
                "slice question",
                [f"objective: {question.objective!r} asks for time, and nothing was measured"],
                fix="measure the model: `partita profile`; or ask for slices, memory or payload",
            )
        if profile is not None:
            profile.check(chain)
        tensors = Tensors.of(chain, question)
        legal = legal_positions(chain, tensors)
        positions = _thinned(legal, tensors)
        weights = _weights(chain, positions)
        active = _active(chain, tensors, positions, question, profile)
        used = {name for stage in chain.stages for name in stage.params}
        runtime = question.platform.limits.runtime_memory
        return cls(
            chain=chain,
            question=question,
            tensors=tensors,
            positions=positions,
            weights=weights,
            active=active,
            held=runtime
            + weights
            + (question.weight_copies - 1) * _largest(chain, positions)
            + ACTIVATIONS * active,
            compute=None if profile is None else _seconds(profile, positions, question.batch),
            threads=1 if profile is None else max(profile.device.threads, 1),
            distinct=float(sum(chain.params[name] for name in used)),
            thinned=len(positions) < len(legal),
        )

    def at(self, positions: Index) -> Costs:
        """The same over fewer positions."""
        kept = np.ix_(*[np.searchsorted(self.positions, positions)] * 2)
        return replace(
            self,
            positions=positions,
            weights=self.weights[kept],
            active=self.active[kept],
            held=self.held[kept],
            compute=None if self.compute is None else self.compute[kept],
        )


def _weights(chain: Chain, positions: Index) -> Numbers:
    """Bytes of the distinct parameters used in every span."""
    place = {name: at for at, name in enumerate(chain.params)}
    pairs = [(place[n], i) for i, stage in enumerate(chain.stages) for n in set(stage.params)]
    table = np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2)
    given = np.full(len(place), GIVEN, dtype=np.intp)
    uses = Uses.of(table[:, 0], table[:, 1], given, positions)
    amounts = np.fromiter(chain.params.values(), np.float64, len(place))
    return uses.within(amounts, len(positions))


def _largest(chain: Chain, positions: Index) -> Numbers:
    """Bytes of the largest parameter used in every span."""
    each = np.array(
        [max((chain.params[n] for n in stage.params), default=0) for stage in chain.stages], float
    )
    table = np.where(np.arange(len(chain))[None, :] >= positions[:, None], each[None, :], 0.0)
    np.maximum.accumulate(table, axis=1, out=table)
    largest = np.zeros((len(positions), len(positions)))
    largest[:, 1:] = table[:, positions[1:] - 1]
    return largest


def _active(
    chain: Chain, tensors: Tensors, positions: Index, question: SliceQuestion, profile: Profile | None
) -> Numbers:
    """Bytes of activations at the worst moment: the inputs, and what the slice made and still needs.

    What a slice made is alive from its maker to its last reader or to the end, wherever the slice ends, so the sum at
    a stage depends on where the slice starts only.
    """
    count, side = len(chain), len(positions)
    own = tensors.made > GIVEN
    made = tensors.made[own]
    first = np.zeros_like(made)
    stop = np.clip(tensors.last[own], made, count - 1) + 1
    alive = Rectangles(first, segments(made, positions) + 1, made, stop).total(
        tensors.size[own], (side, count)
    )
    if profile is not None:
        # What a kernel takes beside its tensors, where it was measured.
        stages = chain.stages
        at = dict(zip(tensors.names, tensors.size, strict=True))
        plain = np.array([sum(at[n] for n in {*stage.inputs, *stage.outputs}) for stage in stages])
        peaks = np.array([cost.peak(question.batch) for cost in profile.stages])
        extra = np.maximum(peaks - plain, 0.0)
        alive += np.where(np.arange(count)[None, :] >= positions[:, None], extra[None, :], 0.0)
    np.maximum.accumulate(alive, axis=1, out=alive)
    uses = Uses.of(tensors.who, tensors.stage, tensors.made, positions)
    active = uses.within(tensors.size, side)
    active[:, 1:] += alive[:, positions[1:] - 1]
    return active


def _seconds(profile: Profile, positions: Index, batch: int) -> Numbers:
    """Seconds of every span, by the same rule as `Profile.seconds`."""
    sums = np.concatenate(([0.0], np.cumsum([stage.seconds(batch) for stage in profile.stages])))[positions]
    seconds: Numbers = sums[None, :] - sums[:, None]
    if profile.after:
        seconds[:, -1] = [profile.seconds(int(start), len(profile.stages), batch) for start in positions]
    if profile.before:
        seconds[0, :] = [profile.seconds(0, int(stop), batch) for stop in positions]
    return seconds
