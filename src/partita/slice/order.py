"""Ways to put a model's stages in a row. Where a model can be cut cheaply depends on the row as much as on the model.

Rules: every order keeps makers before readers; equal stages stay in the order of the file, so an order is the same on
every machine; what an order is worth is told without building a chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from ..graph import GIVEN, Chain
from .grid import Index

# Into so many stretches a row is divided to see how cheap its best cuts are.
_STRETCHES = 16


def orders(chain: Chain, bind: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Topological orders worth trying, by name, as indices of stages.

    `file` is the chain's own. `live` goes on with the stage that leaves the fewest bytes alive, staying on its branch
    where that is no matter. `lazy` runs every stage just before the first that needs it.
    """
    return {"file": tuple(range(len(chain))), "live": _live(chain, bind), "lazy": _lazy(chain)}


def order_score(
    chain: Chain, bind: Mapping[str, int], order: Sequence[int] | None = None
) -> tuple[float, float]:
    """How many bytes lie between stages, the smaller the better: at the best cuts along the row, then at all of them.

    `order` asks about the same stages in another row.
    """
    if len(chain) < 2:
        return 0.0, 0.0
    place = np.arange(len(chain) + 1)
    if order is not None:
        place[np.asarray(order, dtype=np.intp)] = np.arange(len(chain))
    inner = _frontier(chain, bind, place)[1:-1]
    stretches = np.array_split(inner, min(_STRETCHES, len(inner)))
    return float(sum(stretch.min() for stretch in stretches)), float(inner.sum())


def _frontier(
    chain: Chain, bind: Mapping[str, int], place: Index
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Bytes that cross every position when stage i stands at place[i]; the answers leave after the last one."""
    count = len(chain)
    made, last = dict.fromkeys(chain.inputs, GIVEN), dict[str, int]()
    for index, stage in enumerate(chain.stages):
        made.update(dict.fromkeys(stage.outputs, int(place[index])))
        for name in stage.inputs:
            last[name] = max(last.get(name, GIVEN), int(place[index]))
    last.update(dict.fromkeys(chain.outputs, count))
    change = np.zeros(count + 2)
    for name, stop in last.items():
        size = tensor_bytes(chain, name, bind)
        change[made[name] + 1] += size
        change[stop + 1] -= size
    return np.cumsum(change)[: count + 1]


def tensor_bytes(chain: Chain, name: str, bind: Mapping[str, int]) -> int:
    """Raw bytes of a tensor; 0 for one that has none of its own."""
    spec = chain.tensors[name]
    return spec.nbytes(bind) if spec.travels else 0


def _readers(chain: Chain) -> dict[str, list[int]]:
    """By tensor, the stages that read it; an answer is read by nobody here."""
    found: dict[str, list[int]] = {name: [] for name in chain.inputs}
    for index, stage in enumerate(chain.stages):
        for name in dict.fromkeys(stage.inputs):
            found[name].append(index)
        for name in stage.outputs:
            found[name] = []
    return found


def _live(chain: Chain, bind: Mapping[str, int]) -> tuple[int, ...]:
    """Greedy by bytes alive: a stage adds what it makes and takes away what nobody else still waits for."""
    readers, answers = _readers(chain), set(chain.outputs)
    size = {name: tensor_bytes(chain, name, bind) for name in readers}
    left = {name: len(stages) + (name in answers) for name, stages in readers.items()}
    needs = [set(stage.inputs) for stage in chain.stages]
    change = [sum(size[name] for name in stage.outputs if left[name]) for stage in chain.stages]
    for index, names in enumerate(needs):
        change[index] -= sum(size[name] for name in names if left[name] == 1)
    missing = [sum(chain.maker(name) != GIVEN for name in names) for names in needs]
    # What became ready last stands first among equals: a branch is followed to its end.
    ready = [(change[i], 0, i) for i, count in enumerate(missing) if not count]
    since = [0] * len(chain)
    heapify(ready)
    done, order = [False] * len(chain), list[int]()
    while ready:
        worth, _, index = heappop(ready)
        if done[index] or worth != change[index]:
            continue
        done[index] = True
        order.append(index)
        for name in chain.stages[index].outputs:
            for reader in readers[name]:
                missing[reader] -= 1
                if not missing[reader]:
                    since[reader] = -len(order)
                    heappush(ready, (change[reader], since[reader], reader))
        for name in needs[index]:
            left[name] -= 1
            if left[name] == 1 and name not in answers:
                (reader,) = [r for r in readers[name] if not done[r]]
                change[reader] -= size[name]
                if not missing[reader]:
                    heappush(ready, (change[reader], since[reader], reader))
    return tuple(order)


def _lazy(chain: Chain) -> tuple[int, ...]:
    """Backwards from the ends: before a stage, whatever it needs and nobody has run yet, the longest branch first.

    So a short branch, which could run at any time, runs last.
    """
    readers = _readers(chain)
    makers, depth = list[list[int]](), list[int]()
    for stage in chain.stages:
        found = {chain.maker(name) for name in stage.inputs} - {GIVEN}
        # The last of them is visited first.
        makers.append(sorted(found, key=lambda i: (depth[i], -i)))
        depth.append(1 + max((depth[i] for i in found), default=0))
    ends = [i for i, stage in enumerate(chain.stages) if not any(readers[name] for name in stage.outputs)]
    done, order = [False] * len(chain), list[int]()
    for end in ends:
        waiting = [end]
        while waiting:
            index = waiting[-1]
            open_ones = [maker for maker in makers[index] if not done[maker]]
            if done[index] or not open_ones:
                waiting.pop()
                if not done[index]:
                    done[index] = True
                    order.append(index)
            else:
                waiting += open_ones
    return tuple(order)
