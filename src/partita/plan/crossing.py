"""What travels in one step of a plan: every message with its tensors, and which of them a codec may touch.

Rules: a tensor goes to a place only if that place reads it and does not hold it yet, so skip connections between
two parts of one place never cross; the last part owns the answer (in training: the loss); gradients come back for
float tensors that the model made behind its frozen stages; a codec touches floats only, and never the answer of an inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..graph import Chain
from .placement import PlacedPart, Plan

Kind = Literal["features", "gradients"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message between two neighbouring parts, by their index. `plain` tensors travel raw whatever the codec."""

    source: int
    target: int
    kind: Kind
    codec: str
    coded: tuple[str, ...]
    plain: tuple[str, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """All tensors of the message, in no particular order."""
        return self.coded + self.plain


def readers(chain: Chain) -> dict[str, list[int]]:
    """For every tensor, the stages that read it, in order; an output of the model is read at `len(chain)` too."""
    found: dict[str, list[int]] = {name: [] for name in chain.inputs}
    for index, stage in enumerate(chain.stages):
        for name in dict.fromkeys(stage.inputs):
            found[name].append(index)
        for name in stage.outputs:
            found[name] = []
    for name in dict.fromkeys(chain.outputs):
        found[name].append(len(chain))
    return found


def carried(
    chain: Chain, parts: tuple[PlacedPart, ...], reads: Mapping[str, list[int]] | None = None
) -> tuple[tuple[str, ...], ...]:
    """For every hop between neighbouring parts, the tensors that go forward over it."""
    rows: list[list[str]] = [[] for _ in parts[1:]]
    # The part of every stage; the answer belongs to the last part, and GIVEN, which is -1, to the first.
    home = [i for i, part in enumerate(parts) for _ in range(part.start, part.stop)]
    home += [len(parts) - 1, 0]
    for name, stages in (readers(chain) if reads is None else reads).items():
        source = home[chain.maker(name)]
        if not stages or home[stages[-1]] == source:
            continue
        held = {source}
        for target in dict.fromkeys(home[stage] for stage in stages):
            if parts[target].place not in {parts[i].place for i in held}:
                for hop in range(max(i for i in held if i < target), target):
                    rows[hop].append(name)
                    held.add(hop + 1)
            held.add(target)
    return tuple(map(tuple, rows))


def messages(
    chain: Chain, plan: Plan, reads: Mapping[str, list[int]] | None = None, *, frozen: int = 0
) -> tuple[Message, ...]:
    """The messages of one step in the order they are sent. In training each is answered by its gradients.

    Of what the first `frozen` stages make nobody wants gradients: nothing there is trained. The answer comes all the
    same, if with no tensor in it.
    """
    answers = set(chain.outputs) if plan.mode == "infer" else set()
    sent: list[Message] = []
    back: list[Message] = []
    for i, (names, hop) in enumerate(zip(carried(chain, plan.parts, reads), plan.hops, strict=True)):
        coded = tuple(n for n in names if chain.tensors[n].dtype.is_float and n not in answers)
        plain = tuple(n for n in names if n not in coded)
        sent.append(Message(i, i + 1, "features", hop.forward, coded, plain))
        slopes = tuple(n for n in coded if chain.maker(n) >= frozen)
        back.insert(0, Message(i + 1, i, "gradients", hop.back, slopes, ()))
    return tuple(sent + back) if plan.mode == "train" else tuple(sent)
