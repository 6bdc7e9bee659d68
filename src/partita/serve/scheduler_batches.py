"""Batches: who runs next, through which stages, and how many at once.

Rules: the earliest deadline leads; everybody waiting for the same stage may join, in order; a batch shrinks until its
leader, the first one left behind and whoever might arrive meanwhile keep their time; stages are fused only where no
member could leave in between.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from .scheduler_costs import Costs
from .scheduler_prices import Prices
from .scheduler_queue import Queue

# A worker is not blocked for longer than this part of the shortest deadline seen: somebody may arrive just after it
# began, and needs the rest.
_BLOCKED = 0.5


@dataclass(frozen=True, slots=True)
class Formed:
    """Which places of the queue run, and how."""

    first: int
    last: int
    places: list[int]
    seconds: float


class Former:
    """Forms the next batch from a queue whose head has work to do."""

    def __init__(self, costs: Costs, prices: Prices, thresholds: tuple[float, ...]) -> None:
        self._costs, self._prices = costs, prices
        last = costs.exits - 1
        # From each stage, the first at whose exit a confident answer could leave.
        self._tested = [
            next((j for j in range(k, last) if thresholds and thresholds[j] <= 1), last)
            for k in range(costs.exits)
        ]

    def form(self, queue: Queue, step: int, now: float, margin: float, shortest: float) -> Formed:
        """The batch that the head leads."""
        stage = int(queue.stages[0])
        waiting = queue.stages == stage
        places: list[int] = waiting.nonzero()[0][: self._costs.enough[stage, stage]].tolist()
        slack = float(queue.deadlines[0]) - now
        behind = int(waiting.argmin())
        if not waiting[behind]:
            slack = min(slack, float(queue.latest[behind]) - now)
        slack = min(slack, _BLOCKED * shortest) / margin
        last = self._together(queue, places, step, stage)
        while last > stage and not self._size(stage, last, len(places), slack):
            last -= 1
        size = max(1, self._size(stage, last, len(places), slack))
        return Formed(stage, last, places[:size], self._costs.seconds(stage, last, size))

    def _size(self, first: int, last: int, most: int, slack: float) -> int:
        """How many fit into the slack; none where the span was never measured."""
        if (first, last) not in self._costs.spans:
            return 0
        seconds = self._costs.spans[first, last][0]
        return bisect_right(seconds, slack / self._costs.scale[first, last], 1, most + 1) - 1

    def _together(self, queue: Queue, places: list[int], step: int, stage: int) -> int:
        """The last stage that all of them pass before anybody may leave."""
        last = self._costs.exits - 1
        states = self._prices.states
        seen: set[int] = set()
        rows = queue.rows
        for place in places:
            half = int(rows[place]) // states
            if half not in seen:
                seen.add(half)
                last = min(last, self._prices.must_pass(step, half, stage))
            if queue.entries[place].thresholds:
                last = min(last, self._tested[stage])
            if last == stage:
                break
        return last
