"""Which parts of a chain to time: every stage alone, a few longer pieces, and the whole.

Rules: only legal parts are timed, so stages between two illegal positions are timed together; nothing here
runs a model or knows a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import isqrt

from ..graph import Chain

# One part per stage is held ready while the rounds go round; past this many, neighbours are timed together.
MOST_SPANS = 256
# Longer pieces tell what a stage pays for being alone. Eight of them find it within a percent or two.
MOST_PIECES = 8


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The stages [start, stop), timed as one part."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def smallest_spans(chain: Chain, most: int = MOST_SPANS) -> tuple[Span, ...]:
    """The shortest legal parts, in order and without gaps; neighbours joined until there are at most `most`."""
    edges = [cut.position for cut in chain.cuts if cut.legal]
    spans = len(edges) - 1
    if spans > most:
        edges = [edges[at * spans // most] for at in range(most + 1)]
    return tuple(Span(start, stop) for start, stop in pairwise(edges))


def pieces(seconds: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Consecutive groups of spans that take about the same time each, as index pairs; none for short chains."""
    count = min(MOST_PIECES, isqrt(len(seconds)))
    if count < 2:
        return ()
    passed = list(accumulate(seconds, initial=0.0))
    edges = [0]
    for piece in range(1, count):
        # Never so late that a piece to come would be empty.
        room = range(edges[-1] + 1, len(seconds) - (count - piece) + 1)
        goal = passed[-1] * piece / count
        edges.append(min(room, key=lambda at: abs(passed[at] - goal)))  # used at once
    return tuple(pairwise([*edges, len(seconds)]))


def shares(chain: Chain, span: Span) -> tuple[float, ...]:
    """How the time of a span is divided among its stages: in proportion to their operators."""
    ops = [max(1, stage.ops) for stage in chain.stages[span.start : span.stop]]
    return tuple(count / sum(ops) for count in ops)
