"""From one plan to the next, by prepare, transfer, commit: weights, buffers and the optimizer's state move.

    edge                                   cloud
    Prepare(version, plan)           ->    builds the part beside the one in force, says which states it lacks
    Take(names)                      <->   states that the edge will hold and does not own
    Give(...), Give(..., last)       ->    the states that the edge owns and the cloud will hold, staged
    Commit(version, digest)          ->    checks the digest, switches; then the edge loads what it took

Rules: nothing is under way; until the commit is confirmed neither side has changed anything, and a failure is
answered by Abandon; what was taken and given is compared by digest on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from ..engine import Values
from ..errors import DigestMismatch, PartitaError, ProtocolViolation
from ..plan import Plan, print_plan
from ..run import state_digest
from ..wire import Message, decode, encode
from .holding import Holding
from .line import Line, ask
from .messages import Abandon, Commit, Give, Prepare, Prepared, Take, Taken
from .roles import Roles

_M = TypeVar("_M", bound=Message)
# Large enough that few messages carry a state, small enough that a slow link shows progress.
MESSAGE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Moved:
    """What a change of plans took: bytes of state each way, and seconds."""

    up: int
    down: int
    seconds: float


def change(
    line: Line, holding: Holding, owned: frozenset[str], roles: Roles, plan: Plan, version: int
) -> tuple[Moved, frozenset[str]]:
    """Have both sides take up a plan. `owned` are the states whose present values are here; gives those after it."""
    began = perf_counter()
    mine = frozenset(name for span in roles.edge_spans for name in holding.names(span))
    theirs = frozenset(holding.names(roles.away)) if roles.away is not None else frozenset[str]()
    both = (mine & theirs) - holding.constants()
    if both:
        raise ProtocolViolation(
            f"plan {version}: {', '.join(sorted(both))} would be trained at both places",
            fix="choose cuts that leave shared parameters at one place",
        )
    try:
        prepared = expect(
            ask(line, Prepare(line.number(), version, print_plan(plan, full=True))).message, Prepared
        )
        taken = take(line, holding, sorted(mine - owned))
        given = give(line, holding, version, _due(prepared, theirs, owned))
        digest = state_digest(given) if given else ""
        ask(line, Commit(line.number(), version, digest))
    except PartitaError:
        with suppress(PartitaError):
            ask(line, Abandon(line.number(), version))
        raise
    if taken:
        holding.take(sorted(mine - owned), taken)
    everything = frozenset(holding.names((0, plan.stages)))
    sizes = [sum(value.nbytes for value in values.values()) for values in (given, taken)]
    return Moved(sizes[0], sizes[1], perf_counter() - began), everything - theirs


def _due(prepared: Prepared, theirs: frozenset[str], owned: frozenset[str]) -> list[str]:
    """What the cloud gets: every state that it will hold and the edge owns, whatever old copies it still has."""
    strange = [name for name in prepared.missing if name not in theirs or name not in owned]
    if strange:
        raise ProtocolViolation(
            f"the cloud asks for {', '.join(strange[:5])}, which the edge does not own",
            fix="begin the run again from its last checkpoint",
        )
    return sorted(theirs & owned)


def take(line: Line, holding: Holding, names: list[str]) -> Values:
    """The states of these names from the cloud, checked by digest."""
    taken: Values = {}
    for group in _groups(names, holding.sizes(names)):
        reply = ask(line, Take(line.number(), tuple(group)))
        told = expect(reply.message, Taken)
        values = {name: decode(tensor) for name, tensor in reply.tensors.items()}
        if told.digest != state_digest(values):
            raise DigestMismatch(
                f"the state of {group[0]!r} and {len(group) - 1} others changed on its way",
                fix="try again; if it happens again, check the memory of both machines",
            )
        taken |= values
    return taken


def give(line: Line, holding: Holding, version: int, names: list[str]) -> Values:
    """Send the states of these names; gives them back as they were sent."""
    given: Values = {}
    groups = list(_groups(names, holding.sizes(names)))
    for at, group in enumerate(groups, 1):
        values = holding.export(group)
        given |= values
        tensors = {name: encode(value) for name, value in values.items()}
        ask(line, Give(line.number(), version, at == len(groups)), tensors)
    return given


def _groups(names: list[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    held = 0
    for name in names:
        if group and held + sizes[name] > MESSAGE_BYTES:
            yield group
            group, held = [], 0
        group.append(name)
        held += sizes[name]
    if group:
        yield group


def expect(message: Message, kind: type[_M]) -> _M:
    """The message, which must be of this kind."""
    if not isinstance(message, kind):
        raise ProtocolViolation(
            f"the cloud answered with {type(message).__name__}, not {kind.__name__}",
            fix="check that both sides run the same version",
        )
    return message
