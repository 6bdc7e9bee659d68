"""Every plan of two places at once: the cost model of `estimate` as arrays over pairs of cuts.

A plan of two places is a pair (a, b): the first place runs [0, a) and [b, L), the second [a, b). b = L + 1 means that
the second place also owns the answer (in training: the loss); a = b = L is the first place alone.

Rules: a tensor contributes the same bytes to all pairs of a rectangle, so all sums over tensors are double running
sums over corners; codecs are linear, so four such sums price any codec; nothing here chooses anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graph import GIVEN
from .codec_option import RAW, CodecOption
from .estimate import Pricing
from .place_cost import Numbers, PlaceCost

Index = NDArray[np.intp]
# A rectangle of pairs: first <= a < stop_a and low <= b < stop_b.
Rectangle = tuple[int, int, int, int]

# What is summed over the tensors of a message: float elements, their raw bytes, their number, and the bytes of the rest.
ELEMENTS, CODED, TENSORS, PLAIN = range(4)


def read_within(made: int, stages: list[int], end: int) -> Iterator[Rectangle]:
    """The pairs for which something made before a is read in [a, b)."""
    previous = made
    for stage in stages:
        yield previous + 1, stage + 1, stage + 1, end
        previous = stage


def made_within(made: int, stages: list[int]) -> Iterator[Rectangle]:
    """The pairs for which something made in [a, b) is read at b or later."""
    if stages and stages[-1] > made:
        yield 0, made + 1, made + 1, stages[-1] + 1


def held_over(made: int, stages: list[int], end: int) -> Iterator[Rectangle]:
    """The pairs for which something made before a is read at b or later."""
    if stages:
        yield made + 1, end, 0, stages[-1] + 1


def _some(rectangle: Rectangle, least_a: int, least_b: int) -> Iterator[Rectangle]:
    """What is left of a rectangle from these pairs on."""
    first, stop_a, low, stop_b = rectangle
    first, low = max(first, least_a), max(low, least_b)
    if first < stop_a and low < stop_b:
        yield first, stop_a, low, stop_b


class Sums:
    """Weights collected by rectangle; `layers` is how many weights each rectangle carries."""

    def __init__(self, side: int, layers: int) -> None:
        self._side, self._layers = side, layers
        self._corners: list[int] = []
        self._weights: list[tuple[float, ...]] = []

    def add(self, rectangles: Iterator[Rectangle], weights: tuple[float, ...]) -> None:
        width = self._side + 1
        for first, stop_a, low, stop_b in rectangles:
            negative = tuple(-w for w in weights)
            self._corners += (
                first * width + low,
                stop_a * width + low,
                first * width + stop_b,
                stop_a * width + stop_b,
            )
            self._weights += (weights, negative, negative, weights)

    def total(self) -> Numbers:
        """The sums as layers x a x b."""
        width = self._side + 1
        grid = np.zeros((self._layers, width, width))
        if not self._corners:
            return grid[:, : self._side, : self._side]
        weights = np.array(self._weights)
        for layer in range(self._layers):
            flat = np.bincount(self._corners, weights[:, layer], minlength=width * width)
            grid[layer] = flat.reshape(width, width)
        return grid.cumsum(axis=1).cumsum(axis=2)[:, : self._side, : self._side]


@dataclass(frozen=True)
class Way:
    """One direction of the link, by codec x pair: bytes per step, the largest message, seconds at both ends."""

    wire: Numbers
    largest: Numbers
    home: Numbers
    away: Numbers
    lossy: NDArray[np.bool_]


@dataclass(frozen=True)
class Side:
    """One place, by pair: what it does in a step and what it holds. `known` are seconds with measured energy."""

    seconds: Numbers
    replay: Numbers
    known: Numbers
    joules: Numbers
    watts: float
    memory: Numbers
    waiting: Numbers
    weights: Numbers


@dataclass(frozen=True)
class Space:
    """All admissible pairs of one question, with what each costs before codecs and window are chosen."""

    a: Index
    b: Index
    parts: Numbers
    delay: Numbers
    home: Side
    away: Side
    up: Way
    down: Way


def admissible(pricing: Pricing) -> tuple[Index, Index]:
    """The pairs that the model and the question allow, the first place alone among them."""
    question, chain = pricing.question, pricing.model.chain
    count = len(chain)
    legal = np.array([cut.position for cut in chain.cuts if question.cuttable(cut)])
    far_answer = question.mode == "train" and not question.labels_private and not question.min_tail
    ends = np.append(legal, count + 1) if far_answer else legal
    a, b = (grid.ravel() for grid in np.meshgrid(legal, ends, indexing="ij"))
    fine = (a < np.minimum(b, count)) & (a >= question.min_front) & (count - b >= question.min_tail)
    if far_answer:
        fine |= (a < count) & (a >= question.min_front) & (b == count + 1)
    if not question.two_cuts:
        fine &= b >= count
    if question.inputs_at_cloud:
        fine &= a == 0
    if question.mode == "train":
        fine &= _shared(pricing, a, b) == 0
    if question.inputs_at_cloud:
        return a[fine], b[fine]
    return np.append(a[fine], count), np.append(b[fine], count)


def _shared(pricing: Pricing, a: Index, b: Index) -> Numbers:
    """How many parameters that training changes would be used at both places: they would drift apart."""
    side = len(pricing.model.chain) + 2
    both = Sums(side, 1)
    for name, stages in _users(pricing).items():
        if name not in pricing.question.constant:
            # Used within [a, b), less the pairs where nobody outside uses it.
            both.add(read_within(GIVEN, stages, side), (1.0,))
            both.add(iter([(0, stages[0] + 1, stages[-1] + 1, side)]), (-1.0,))
    return np.asarray(both.total()[0, a, b]).round()


def build(pricing: Pricing, options: list[tuple[str, CodecOption]]) -> Space:
    """The whole space of one question."""
    a, b = admissible(pricing)
    count = len(pricing.model.chain)
    alone = a == count
    train = pricing.question.mode == "train"
    # One message per hop and direction: the hop out, unless the inputs are there already, and the hop back.
    out = (~alone & (not pricing.question.inputs_at_cloud)).astype(float)
    back = (~alone & (b <= count)).astype(float)
    flows = _flows(pricing, a, b)
    labelled = train and not pricing.question.inputs_at_cloud
    labels = np.where(b > count, float(pricing.question.label_bytes * labelled), 0.0)
    up = _way(pricing, options, flows[:2], (out, back * train), labels)
    down = _way(pricing, options, flows[2:], (back, out * train), np.zeros(len(a)), reverse=True)
    steps = (out + back) * (2 if train else 1)
    home, away = _sides(pricing, a, b)
    return Space(
        a=a,
        b=b,
        parts=np.where(alone, 1.0, 1.0 + (a > 0) + (b < count)),
        delay=steps * (pricing.link.rtt / 2 + pricing.question.overhead.seconds),
        home=home,
        away=away,
        up=up,
        down=down,
    )


def _flows(pricing: Pricing, a: Index, b: Index) -> list[Numbers]:
    """By layer x pair: features up, gradients up (of features down), features down, gradients down."""
    model, question = pricing.model, pricing.question
    side, chain = len(model.chain) + 2, model.chain
    answers = set(chain.outputs) if question.mode == "infer" else set()
    sums = [Sums(side, 4) for _ in range(4)]
    for name, stages in model.readers.items():
        dtype, size, made = chain.tensors[name].dtype, model.size[name], chain.maker(name)
        coded = dtype.is_float and name not in answers
        weights = (size / dtype.itemsize, size, 1.0, 0.0) if coded else (0.0, 0.0, 0.0, float(size))
        sloped = question.mode == "train" and coded and made >= question.frozen
        if made == GIVEN and question.inputs_at_cloud:
            far = [(0, 1, 0, stages[-1] + 1)] if stages else []
            sums[2].add(iter(far), weights)
            continue
        sums[0].add(read_within(made, stages, side), weights)
        sums[2].add(made_within(made, stages), weights)
        if sloped:
            sums[1].add(made_within(made, stages), weights)
            sums[3].add(read_within(made, stages, side), weights)
    return [total.total()[:, a, b] for total in sums]


def _way(
    pricing: Pricing,
    options: list[tuple[str, CodecOption]],
    flows: list[Numbers],
    counts: tuple[Numbers, Numbers],
    labels: Numbers,
    *,
    reverse: bool = False,
) -> Way:
    """One direction under every codec. `reverse` means that the second place encodes and the first decodes."""
    features, gradients = flows
    coded, plain = features[CODED] + gradients[CODED], features[PLAIN] + gradients[PLAIN] + labels
    extra, messages = pricing.question.overhead, counts[0] + counts[1]
    wire, largest, ends = [], [], []
    for name, option in options:
        bodies = (_coded(option, features) + labels, _coded(option, gradients))
        sizes = [
            (body + count * extra.bytes) * (1 + extra.share)
            for body, count in zip(bodies, counts, strict=True)
        ]
        wire.append(sizes[0] + sizes[1])
        largest.append(np.maximum(*sizes))
        seconds = []
        for cost, work in zip(pricing.places.values(), _WORKS[reverse], strict=True):
            per_byte, per_raw = getattr(cost.codec(name), work), getattr(cost.codec(RAW), work)
            seconds.append(per_byte * coded + per_raw * plain + extra.cpu * messages)
        ends.append(seconds)
    home, away = np.array([row[0] for row in ends]), np.array([row[1] for row in ends])
    return Way(np.array(wire), np.array(largest), home, away, coded > 0)


# What the first and the second place do with a message, on the way up and on the way down.
_WORKS = {False: ("encode", "decode"), True: ("decode", "encode")}


def _coded(option: CodecOption, sums: Numbers) -> Numbers:
    """Bytes of tensors under a codec: it is linear, so sums over tensors are enough."""
    body = option.encoded(sums[ELEMENTS], sums[CODED], sums[TENSORS])
    return np.asarray(body + sums[PLAIN])


def forward_spans(cost: PlaceCost, start: Index, stop: Index) -> Numbers:
    """`PlaceCost.forward` over many spans."""
    seconds = cost.ahead[stop] - cost.ahead[start]
    if cost.after is not None:
        seconds = np.where(stop == len(cost.ahead) - 1, cost.after[start], seconds)
    if cost.before is not None:
        seconds = np.where(start == 0, cost.before[stop], seconds)
    return np.where(start >= stop, 0.0, seconds)


def _sides(pricing: Pricing, a: Index, b: Index) -> tuple[Side, Side]:
    question, count = pricing.question, len(pricing.model.chain)
    train = question.mode == "train"
    home, away = pricing.places.values()
    stop, zero, end = np.minimum(b, count), np.zeros_like(a), np.full_like(a, count)
    alone = a == count
    front, middle, tail = (
        forward_spans(home, zero, a),
        forward_spans(away, a, stop),
        forward_spans(home, stop, end),
    )
    home_back = home.backward[a] + home.backward[count] - home.backward[stop]
    away_back = away.backward[stop] - away.backward[a]
    weights = _weights(pricing, a, b)
    active = _active(home, away, a, stop, frozen=question.frozen if train else None)
    copies = 1 + question.optimizer_copies if train else 0
    trained = _weights(pricing, a, b, frozenset(pricing.model.chain.part_params(0, question.frozen)))
    waiting = _waiting(pricing, a, b)
    # The part that owns the loss keeps its graph; every other part in training builds it again once K is above 0.
    # Frozen stages are neither computed twice nor gone back through.
    frozen, since = question.frozen, pricing.resumed
    front_again = forward_spans(home, np.minimum(a, since), a)
    middle_again = forward_spans(away, np.minimum(np.maximum(a, since), stop), stop)
    home_replay = np.where(alone | (not train) | home.whole_steps | (a <= frozen), 0.0, front_again)
    away_replay = np.where(
        (b > count) | alone | (not train) | away.whole_steps | (stop <= frozen), 0.0, middle_again
    )
    pairs = []
    for i, (cost, known, back, replay, energy) in enumerate(
        (
            (home, front + tail, home_back, home_replay, [(zero, a), (stop, end)]),
            (away, middle, away_back, away_replay, [(a, stop)]),
        )
    ):
        sums = np.zeros(count + 1) if cost.joules is None else cost.joules
        pairs.append(
            Side(
                seconds=known + back,
                replay=replay,
                known=known,
                joules=np.sum([sums[to] - sums[since] for since, to in energy], axis=0),
                watts=cost.watts,
                memory=weights[i] + trained[i] * copies + active[i],
                waiting=waiting[i],
                weights=weights[i],
            )
        )
    return pairs[0], pairs[1]


def _users(pricing: Pricing, without: frozenset[str] = frozenset()) -> dict[str, list[int]]:
    """For every parameter, the stages that use it."""
    users: dict[str, list[int]] = {}
    for index, stage in enumerate(pricing.model.chain.stages):
        for name in dict.fromkeys(stage.params):
            if name not in without:
                users.setdefault(name, []).append(index)
    return users


def weights_within(pricing: Pricing, a: Index, b: Index, without: frozenset[str] = frozenset()) -> Numbers:
    """Bytes of the distinct parameters used in [a, b)."""
    chain = pricing.model.chain
    side = len(chain) + 2
    touched = Sums(side, 1)
    for name, stages in _users(pricing, without).items():
        touched.add(read_within(GIVEN, stages, side), (float(chain.params[name]),))
    return np.where(a < b, touched.total()[0, a, b], 0.0)


def _weights(
    pricing: Pricing, a: Index, b: Index, without: frozenset[str] = frozenset()
) -> tuple[Numbers, Numbers]:
    """Bytes of the distinct parameters that each place holds: a shared one counts once at each."""
    chain = pricing.model.chain
    side = len(chain) + 2
    owned = Sums(side, 1)
    users = _users(pricing, without)
    for name, stages in users.items():
        owned.add(iter([(0, stages[0] + 1, stages[-1] + 1, side)]), (float(chain.params[name]),))
    total = sum(chain.params[name] for name in users)
    return total - owned.total()[0, a, b], weights_within(pricing, a, b, without)


def peaks(cost: PlaceCost, start: Index, stop: Index) -> Numbers:
    """Bytes of activations at the worst moment of an inference, over many spans."""
    count = len(cost.active)
    worst = np.zeros((count + 1, count + 1))
    upper = np.triu(np.broadcast_to(cost.active, (count, count)))
    worst[:count, 1:] = np.maximum.accumulate(upper, axis=1)
    return np.where(start < stop, worst[start, stop], 0.0)


def _active(
    home: PlaceCost, away: PlaceCost, a: Index, stop: Index, *, frozen: int | None
) -> tuple[Numbers, Numbers]:
    """Bytes of activations at the worst moment; in training those of a whole step are kept, but of frozen stages."""
    if frozen is not None:
        mine = home.kept[a] + home.kept[-1] - home.kept[stop]
        theirs = away.kept[stop] - away.kept[a]
        if frozen:
            ends, zero = np.full_like(a, frozen), np.zeros_like(a)
            ahead = np.maximum(peaks(home, zero, np.minimum(a, ends)), peaks(home, stop, ends))
            mine, theirs = np.maximum(mine, ahead), np.maximum(theirs, peaks(away, a, np.minimum(stop, ends)))
        return mine, theirs
    ahead = np.concatenate(([0.0], np.maximum.accumulate(home.active)))
    behind = np.concatenate((np.maximum.accumulate(home.active[::-1])[::-1], [0.0]))
    return np.maximum(ahead[a], behind[stop]), peaks(away, a, stop)


def _waiting(pricing: Pricing, a: Index, b: Index) -> tuple[Numbers, Numbers]:
    """Bytes that each further step under way keeps at the two places: skip connections, and inputs for replay."""
    model, question = pricing.model, pricing.question
    side, train = len(model.chain) + 2, question.mode == "train"
    frozen, since = question.frozen, max(pricing.resumed, 0)
    home, away = Sums(side, 1), Sums(side, 1)
    for name, stages in model.readers.items():
        made, size = model.chain.maker(name), (float(model.size[name]),)
        inside = [stage for stage in stages if stage < side - 2]
        if not (made == GIVEN and question.inputs_at_cloud):
            home.add(held_over(made, stages, side), size)
        if train:
            again = [stage for stage in inside if stage >= since]
            if made < since and again:
                home.add(_some((again[0] + 1, side, 0, side), frozen + 1, 0), size)
                away.add(_some((0, since + 1, again[0] + 1, side - 1), 0, frozen + 1), size)
            # Replayed only where the tail owns the loss: b = L + 1 is left out.
            for i, j, k, _ in read_within(made, inside, side):
                away.add(_some((i, j, k, side - 1), since + 1, frozen + 1), size)
    alone = a == len(model.chain)
    return np.where(alone, 0.0, home.total()[0, a, b]), away.total()[0, a, b]
