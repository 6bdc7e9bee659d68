"""What every span [a, b) of stages would cost as one part, at one place: arrays by a and b, for the search over rows.

Rules: with chain transport a part hands on everything that is needed later, and each cut's bytes are paid once for
every cut; with store transport a tensor is written once and read by each part that uses it; inference only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .codec_option import RAW, CodecOption
from .crossing import readers
from .estimate import Pricing
from .limits import Limits
from .place_cost import Numbers, PlaceCost
from .space import Sums, forward_spans, made_within, peaks, read_within, weights_within

Transport = Literal["chain", "store"]


@dataclass(frozen=True)
class Traffic:
    """Bytes into and out of every span, raw (`coded`, `plain`) and on the wire, the same at every place."""

    coded_in: Numbers
    plain_in: Numbers
    wire_in: Numbers
    coded_out: Numbers
    plain_out: Numbers
    wire_out: Numbers


def traffic(pricing: Pricing, option: CodecOption, transport: Transport) -> Traffic:
    """What goes in and out of every span."""
    chain, size = pricing.model.chain, pricing.model.size
    count = len(chain)
    into, out = Sums(count + 1, 4), Sums(count + 1, 4)
    answers = set(chain.outputs)
    for name, stages in readers(chain).items():
        made, dtype = chain.maker(name), chain.tensors[name].dtype
        coded = dtype.is_float and name not in answers
        each = (
            (size[name] / dtype.itemsize, size[name], 1.0, 0.0)
            if coded
            else (0.0, 0.0, 0.0, float(size[name]))
        )
        if transport == "store":
            into.add(read_within(made, [s for s in stages if s < count], count + 1), each)
            out.add(made_within(made, stages), each)
        elif stages:
            # Handed on at every cut between its maker and its last reader, the answer up to the end.
            into.add(iter([(made + 1, stages[-1] + 1, 0, count + 1)]), each)
            out.add(iter([(0, count + 1, made + 1, stages[-1] + 1)]), each)
    extra = pricing.question.overhead
    rows = []
    for sums in (into.total(), out.total()):
        body = option.encoded(sums[0], sums[1], sums[2]) + sums[3]
        rows += [sums[1], sums[3], (body + extra.bytes) * (1 + extra.share)]
    return Traffic(*rows)


@dataclass(frozen=True)
class Spans:
    """One place's costs of every span. `travel` is the time on the link that a span causes."""

    compute: Numbers
    travel: Numbers
    wire: Numbers
    memory: Numbers
    joules: Numbers
    ratio: Numbers
    worst: Numbers
    names: tuple[str, ...]


def spans(
    pricing: Pricing, cost: PlaceCost, moved: Traffic, codec: str, limits: Limits, transport: Transport
) -> Spans:
    """The costs of every span at one place, and how far each is over its limits."""
    count = len(pricing.model.chain)
    a, b = (grid.ravel() for grid in np.indices((count + 1, count + 1)))
    shape = (count + 1, count + 1)
    link, extra = pricing.link, pricing.question.overhead
    first, last = (a == 0).reshape(shape), (b == count).reshape(shape)
    coder, raw = cost.codec(codec), cost.codec(RAW)
    ways = extra.cpu + coder.decode * moved.coded_in + raw.decode * moved.plain_in
    back = extra.cpu + coder.encode * moved.coded_out + raw.encode * moved.plain_out
    delay = link.rtt / 2 + extra.seconds
    if transport == "chain":
        ways, back = np.where(first, 0.0, ways), np.where(last, 0.0, back)
        wire = np.where(last, 0.0, moved.wire_out)
        travel = np.where(last, 0.0, moved.wire_out * 8 / link.up + delay)
    else:
        # The store is a round trip away for reading and for writing.
        wire = moved.wire_in + moved.wire_out
        travel = moved.wire_in * 8 / link.down + moved.wire_out * 8 / link.up + 4 * delay
    forward = forward_spans(cost, a, b).reshape(shape)
    compute = forward + ways + back
    weights = weights_within(pricing, a, b).reshape(shape)
    memory = weights + peaks(cost, a, b).reshape(shape)
    joules = np.zeros(shape)
    if cost.joules is not None:
        joules = (cost.joules[b] - cost.joules[a]).reshape(shape) + cost.watts * (compute - forward)
    needs = {
        "memory": memory,
        **dict.fromkeys(("package", "storage", "tmp"), weights),
        "seconds": compute,
        "joules": joules,
    }
    if transport == "chain":
        needs |= {"payload_in": moved.wire_in, "payload_out": moved.wire_out}
    ratios = {n: (needs[n] + limits.runtime(n)) / bound for n, bound in limits.bounds.items() if n in needs}
    table = np.array(list(ratios.values()) or [np.zeros(shape)])
    return Spans(
        compute, travel, wire, memory, joules, table.max(axis=0), table.argmax(axis=0), tuple(ratios) or ("",)
    )
