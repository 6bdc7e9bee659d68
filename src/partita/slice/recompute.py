"""Which cheap stages are better run again in every slice that needs them than have their results sent there.

Rules: a stage is folded only if at no cut more bytes cross than before; one that saves nothing by itself only together
with one before it that does; what a folded stage reads must then live as long as what it made; a value that cannot
travel at all counts as more than any that can.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..graph import Chain
from .order import tensor_bytes

# More than all bytes of any model: where such a value crosses, there is no cut.
_STUCK = 1 << 60


def worth_recomputing(chain: Chain, bind: Mapping[str, int], cheap: frozenset[int]) -> tuple[str, ...]:
    """The names of the stages to fold into their readers, in the order of the chain."""
    size = {
        name: tensor_bytes(chain, name, bind) if chain.tensors[name].travels else _STUCK
        for index in cheap
        for name in (*chain.stages[index].inputs, *chain.stages[index].outputs)
    }
    left = set(cheap)
    while True:
        gains = _folded(chain, size, left)
        idle = _idle(chain, gains)
        if not idle:
            return tuple(chain.stages[index].name for index in sorted(gains))
        # What they kept alive may have helped others: without them, everything is weighed again.
        left -= idle


def _folded(chain: Chain, size: Mapping[str, int], cheap: set[int]) -> dict[int, int]:
    """The stages that cost nothing at any cut, and the most that each saves at one.

    From the last to the first, so that what a folded reader needs is known. Between a stage and its last reader the
    gain only shrinks, because results end and inputs would have ended: it is smallest at the last position and
    largest at the first.
    """
    answers = set(chain.outputs)
    last: dict[str, int] = {}
    for index, stage in enumerate(chain.stages):
        last.update(dict.fromkeys(stage.inputs, index))
    gains: dict[int, int] = {}
    for index in sorted(cheap, reverse=True):
        stage = chain.stages[index]
        made = [name for name in stage.outputs if name in last]
        if not made or answers.intersection(stage.outputs):
            continue
        stop = max(last[name] for name in made)
        needs = set(stage.inputs) - answers
        at_first = sum(size[n] for n in made) - sum(size[n] for n in needs if last[n] == index)
        at_last = sum(size[n] for n in made if last[n] == stop)
        at_last -= sum(size[n] for n in needs if last[n] < stop)
        if at_last >= 0:
            gains[index] = at_first
            last.update({name: max(last[name], stop) for name in needs})
    return gains


def _idle(chain: Chain, gains: Mapping[int, int]) -> set[int]:
    """The folded stages that save nothing, neither themselves nor through one that they read from."""
    useful: set[int] = set()
    for index in sorted(gains):
        if gains[index] > 0 or any(chain.maker(name) in useful for name in chain.stages[index].inputs):
            useful.add(index)
    return set(gains) - useful
