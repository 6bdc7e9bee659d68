"""What a plan asks of the two sides of a training: who holds which stages, who gives inputs, who owns the loss.

    edge-only            the edge holds everything
    edge | cloud         features go up, with the labels; gradients come down
    edge | cloud | edge  the loss stays at the edge (its last part may hold no stage at all): labels never travel
    cloud | edge         the cloud holds the inputs and the front, the edge the private targets

Rules: the place called `edge` drives and owns the data loader; the cloud holds one part at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ..errors import BadDocument
from ..graph import Chain
from ..plan import Hop, Plan, carried
from .settings import Settings

EDGE: Final = "edge"
CLOUD: Final = "cloud"
Side = Literal["edge", "cloud"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Roles:
    """`front`, `away` and `tail` are spans of stages, None where a side has none; `front` and `tail` are the edge's.

    `up` and `down` are the names of the tensors that cross to and from the cloud going forward; `up_hop` and
    `down_hop` name the codecs there. An empty tail (start equal to stop) still owns the loss.
    """

    front: Span | None
    away: Span | None
    tail: Span | None
    up: tuple[str, ...]
    down: tuple[str, ...]
    up_hop: Hop
    down_hop: Hop
    loss_at: Side
    inputs_at: Side

    @property
    def edge_spans(self) -> tuple[Span, ...]:
        """What the edge holds."""
        return tuple(span for span in (self.front, self.tail) if span is not None and span[0] < span[1])


def upstream(names: tuple[str, ...], chain: Chain, frozen: int) -> frozenset[str]:
    """Of these tensors, those whose gradients somebody wants: made by the model, behind its first `frozen` stages."""
    return frozenset(n for n in names if chain.tensors[n].dtype.is_float and chain.maker(n) >= frozen)


def passing(chain: Chain, span: Span) -> tuple[str, ...]:
    """The outputs of the model that are made before a last part and go by it to the loss."""
    return tuple(n for n in dict.fromkeys(chain.outputs) if chain.maker(n) < span[0])


def roles_of(plan: Plan, chain: Chain) -> Roles:
    """Read a plan for training; refuses one that this engine cannot run."""
    where = [part.place for part in plan.parts]
    if set(where) - {EDGE, CLOUD} or where.count(CLOUD) > 1:
        raise BadDocument(
            "plan",
            [f"parts: {' | '.join(where)} is not a training between one edge and one cloud"],
            fix="name the places edge and cloud; the cloud holds one part at most",
        )
    crossing = carried(chain, plan.parts)
    if CLOUD not in where:
        return Roles((0, plan.stages), None, None, (), (), Hop(), Hop(), EDGE, EDGE)
    at = where.index(CLOUD)
    away, before, after = plan.parts[at], plan.parts[:at], plan.parts[at + 1 :]
    return Roles(
        front=(before[0].start, before[0].stop) if before else None,
        away=(away.start, away.stop),
        tail=(after[0].start, after[0].stop) if after else None,
        up=crossing[at - 1] if before else (),
        down=crossing[at] if after else (),
        up_hop=plan.hops[at - 1] if before else Hop(),
        down_hop=plan.hops[at] if after else Hop(),
        loss_at=EDGE if after else CLOUD,
        inputs_at=EDGE if before else CLOUD,
    )


def check_private(plan: Plan, settings: Settings) -> None:
    """Refuse a plan that would send labels where the loss is to stay at the edge."""
    last = plan.parts[-1].place if plan.parts else EDGE
    if settings.labels_private and last != EDGE:
        raise BadDocument(
            "plan",
            [f"{plan} ends at {last!r}, which would see the labels, and the loss is to stay at the edge"],
            fix="end it at the edge, like `... -raw-> edge`, or do without labels_private",
        )
