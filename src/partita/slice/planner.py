"""From a model file and a platform to a plan: how to prepare the model, then where to cut it.

Rules: a preparation is taken only where it makes something smaller; what it changes is written into the plan, so that
cutting repeats it; a node that no preparation makes fit is refused by name, with a platform that would take it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..engine import Array
from ..engine.onnx_capture import affordable, capture_onnx
from ..engine.onnx_model import OnnxModel
from ..engine.onnx_run import RunSettings
from ..errors import BadDocument, Infeasible
from ..graph import Chain, Profile, print_size
from ..plan import platforms
from .document import Optimize, Preparation, SlicePlan, bindings
from .explanation import alternatives
from .order import order_score, orders
from .question import SliceQuestion
from .recompute import worth_recomputing
from .room import oversized
from .searching import search, smallest_platform
from .slicer import divided, steady

Wish = Literal["auto", "none", "basic", "extended"]
# Of all weights; less is a constant that was folded.
GROWTH = 0.01
# The head of an event names its tensors: 64 to 200 bytes each, and up to 63 of padding.
ENVELOPE = 8 << 10
# Platforms that are whole machines; all others run functions.
MACHINES = ("process", "edge-", "container-")


@dataclass(frozen=True)
class Prepared:
    """A model ready to be cut, how it came to be, and what was noticed on the way."""

    model: OnnxModel
    preparation: Preparation
    notes: tuple[str, ...] = ()

    @property
    def chain(self) -> Chain:
        """The stages that a plan counts."""
        return self.model.chain


def capture(
    path: str | Path,
    *,
    example: Mapping[str, Array] | None = None,
    optimize: Wish = "auto",
) -> Prepared:
    """The model, optimised as a whole once; `auto` leaves that out where the machine's memory does not allow it.

    Open dimensions stay open: the question binds them for planning, and slices take any size that the model takes.
    """
    level: Optimize = "extended" if optimize == "auto" else optimize
    notes: tuple[str, ...] = ()
    if optimize == "auto" and not affordable(path):
        level = "none"
        notes = ("not optimised before the cut: this machine's memory is too small to load the whole model",)
    model = capture_onnx(path, optimize=level, example=example)
    if level != "none":
        notes += tuple(_grown(path, model))
    if model.random:
        drawn = ", ".join(map(repr, model.random[:3]))
        notes += (
            f"it draws random numbers ({drawn}): two runs give other numbers unless the node has a seed",
        )
    return Prepared(model, Preparation(optimize=level), notes)


def _grown(path: str | Path, optimised: OnnxModel) -> Iterator[str]:
    """What optimising added: a tied table that is read both ways becomes two weights."""
    plain = capture_onnx(path, observe=False, probe=False).chain
    before = plain.part_bytes(0, len(plain))
    more = optimised.chain.part_bytes(0, len(optimised.chain)) - before
    if more > GROWTH * before:
        yield (
            f"optimising added {print_size(more)} of weights, such as a shared table that is kept twice; "
            "--optimize none keeps it once"
        )


def arranged(prepared: Prepared, question: SliceQuestion) -> Prepared:
    """The same model with large nodes divided, in the better order, with cheap stages folded."""
    _check_dims(prepared.chain, question.dims)
    return _folded(_ordered(_divided(prepared, question), question), question)


def _check_dims(chain: Chain, dims: Mapping[str, int]) -> None:
    """Refuse a value for a dimension that the model does not have: it would change nothing."""
    known = {"batch"}.union(*(spec.symbols for spec in chain.tensors.values()))
    unknown = [f"dims.{name}: the model has no such open dimension" for name in dims if name not in known]
    if unknown:
        raise BadDocument("slice question", unknown, fix=f"those that it has: {', '.join(sorted(known))}")


def plan(
    prepared: Prepared,
    question: SliceQuestion,
    *,
    profile: Callable[[OnnxModel], Profile] | None = None,
) -> tuple[Prepared, SlicePlan]:
    """Prepare a captured model for a platform and find the best cuts; `profile` measures it where time is asked for."""
    ready = arranged(prepared, question)
    costs = profile(ready.model) if profile is not None else None
    found = search(ready.chain, with_room(question), preparation=ready.preparation, profile=costs)
    return ready, replace(found, notes=(*ready.notes, *found.notes))


def neighbours(
    ready: Prepared, question: SliceQuestion, found: SlicePlan, profile: Profile | None = None
) -> list[SlicePlan]:
    """What was not chosen: a slice fewer, one and two more, and the other transports; the best first."""
    plans = alternatives(ready.chain, with_room(question), profile, preparation=ready.preparation)
    return [plan for plan in plans if (plan.cuts, plan.stored) != (found.cuts, found.stored)]


def with_room(question: SliceQuestion) -> SliceQuestion:
    """The same question with a little left free in every event, for names, shapes and padding."""
    limits = question.platform.limits

    def less(bound: int | None) -> int | None:
        return bound - ENVELOPE if bound is not None and bound > 4 * ENVELOPE else bound

    tighter = replace(limits, payload_in=less(limits.payload_in), payload_out=less(limits.payload_out))
    place = replace(question.platform, limits=tighter, event=less(question.platform.event))
    return replace(question, platform=place)


def _divided(prepared: Prepared, question: SliceQuestion) -> Prepared:
    pieces = oversized(prepared.chain, question)
    if not pieces:
        return prepared
    model = prepared.model
    stuck, most = [], {}
    for stage, count in pieces.items():
        division = steady(model).division(stage)
        most[stage] = division.pieces
        if division.reason:
            stuck.append(f"{stage!r} {division.reason}")
        elif count > division.pieces:
            stuck.append(f"{stage!r} would have to become {count} pieces, and {division.pieces} are the most")
    if stuck:
        raise Infeasible(
            f"{len(stuck)} of the model's nodes are too large for {question.platform.name} and cannot be divided: "
            + "; ".join(stuck),
            fix=_larger(prepared.chain, question),
        )
    smaller, pieces = _small_enough(model, pieces, most, question)
    divide = {**prepared.preparation.divide, **pieces}
    notes = tuple(
        f"{stage!r} is too large for one slice and becomes {n} pieces" for stage, n in pieces.items()
    )
    return Prepared(smaller, replace(prepared.preparation, divide=divide), (*prepared.notes, *notes))


def _small_enough(
    model: OnnxModel, pieces: Mapping[str, int], most: Mapping[str, int], question: SliceQuestion
) -> tuple[OnnxModel, dict[str, int]]:
    """The divided model. Pieces end where blocks of columns end, so that one may be too large still: then more."""
    counts = dict(pieces)
    while True:
        found = divided(model, counts)
        large = oversized(found.chain, question)
        more = {
            stage: count + 1
            for stage, count in counts.items()
            if count < most[stage] and any(name.startswith(f"{stage}.") for name in large)
        }
        if not more:
            return found, counts
        counts |= more


def _larger(chain: Chain, question: SliceQuestion) -> str:
    name = larger_platform(chain, question)
    if name:
        return f"plan for {name}, the smallest platform of its kind that takes it: --platform {name}"
    return "choose a place with more memory for a whole model, such as container-4gb, or a smaller model"


def larger_platform(chain: Chain, question: SliceQuestion) -> str:
    """The smallest platform that takes the model: of functions where functions were asked for. Empty if none does."""
    here = question.platform.name.startswith(MACHINES)
    like = [p for p in platforms().values() if p.name.startswith(MACHINES) == here]
    return smallest_platform(chain, with_room(question), like)


def _ordered(prepared: Prepared, question: SliceQuestion) -> Prepared:
    """In the order that leaves the fewest bytes between stages; the file's own where none is better."""
    bind = bindings(prepared.chain, question.batch, question.dims)
    found = orders(prepared.chain, bind)
    # The file's own comes first and wins where another is no better.
    name = min(found, key=lambda name: order_score(prepared.chain, bind, found[name]))
    if name == "file":
        return prepared
    return replace(
        prepared,
        model=prepared.model.rearranged(found[name]),
        preparation=replace(prepared.preparation, order=name),
    )


def _folded(prepared: Prepared, question: SliceQuestion) -> Prepared:
    chain = prepared.chain
    names = worth_recomputing(chain, bindings(chain, question.batch, question.dims), prepared.model.cheap)
    if not names:
        return prepared
    model = prepared.model.rearranged(recompute=names)
    if question.slices is not None and sum(cut.legal for cut in model.chain.cuts) <= question.slices:
        return prepared  # folded stages are no places to cut any more, and so many are asked for
    many = "1 cheap stage is" if len(names) == 1 else f"{len(names)} cheap stages are"
    note = f"{many} run again where needed instead of being sent"
    return Prepared(model, replace(prepared.preparation, recompute=names), (*prepared.notes, note))


def measured(threads: int = 0, batch: int = 1) -> Callable[[OnnxModel], Profile]:
    """Measures the prepared model on this machine, with the settings that slices run with."""

    def take(model: OnnxModel) -> Profile:
        from ..profile import measure

        return measure(model.with_settings(RunSettings(threads=threads)), batches=(batch,))

    return take
