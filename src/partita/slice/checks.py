"""Whether a model fits a platform: every limit with its need, its headroom, pass or fail, and the way out.

Rules: nothing is built for it; what is estimated says so; a check that fails names the slice and what helps, and
what helps was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..engine.onnx_model import OnnxModel
from ..errors import BadDocument, Infeasible
from ..graph import Chain, Profile, print_size
from ..plan import Limits, Platform
from .document import SlicePlan, bindings
from .planner import Prepared, arranged, larger_platform, with_room
from .question import SliceQuestion
from .room import oversized
from .searching import search
from .slicer import steady

# divided: too large as it is, and made smaller; avoided: too large to be sent, and not sent.
Status = Literal["pass", "fail", "divided", "avoided", "unknown"]
UNBOUNDED = Limits()


@dataclass(frozen=True, slots=True)
class Row:
    """One check. `need` and `bound` are bytes or seconds; `where` is what needs most."""

    check: str
    where: str
    need: float | None
    bound: float | None
    status: Status
    source: str
    fix: str = ""

    @property
    def headroom(self) -> float | None:
        """The share of the limit that is left; below zero where it is broken."""
        return None if self.need is None or self.bound is None else 1 - self.need / self.bound

    @property
    def failed(self) -> bool:
        """Whether this check does not pass."""
        return self.status == "fail"


@dataclass(frozen=True)
class Report:
    """All checks of one model on one platform, for one plan: the best that fits, or what was asked for."""

    model: str
    platform: str
    rows: tuple[Row, ...]
    plan: SlicePlan | None
    problem: str = ""
    advice: str = ""

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.problem and not any(row.failed for row in self.rows)


def check(
    prepared: Prepared, question: SliceQuestion, *, profile: Callable[[OnnxModel], Profile] | None = None
) -> Report:
    """Plan the model for the platform and hold the plan against every limit, before anything is built."""
    rows = list(_nodes(prepared, question))
    try:
        ready = arranged(prepared, question)
    except Infeasible as error:
        return Report(
            prepared.chain.name, question.platform.name, tuple(rows), None, error.problem, error.fix
        )
    costs = profile(ready.model) if profile is not None else None
    problem = advice = ""
    try:
        plan = search(ready.chain, with_room(question), preparation=ready.preparation, profile=costs)
    except Infeasible as error:
        problem = error.problem
        advice = remedy(ready.chain, question) or error.fix
        plan = _closest(ready, question, costs)
    rows += [
        row if row.status != "fail" else replace(row, fix=advice)
        for row in plan_rows(plan, ready.chain, question.platform, timed=costs is not None)
    ]
    # What the search refuses shows as a row that fails; where it does not, its own words say why.
    said = "" if any(row.failed for row in rows) else problem
    return Report(prepared.chain.name, question.platform.name, tuple(rows), plan, said, advice)


def check_plan(plan: SlicePlan, chain: Chain, platform: Platform) -> Report:
    """Hold a plan that exists against a platform's limits."""
    plan.check(chain)
    rows = plan_rows(plan, chain, platform, timed=all(s.seconds is not None for s in plan.slices))
    advice = f"plan for it: partita slice plan MODEL.onnx --platform {platform.name}"
    rows = [replace(row, fix=advice) if row.failed else row for row in rows]
    return Report(
        plan.model, platform.name, tuple(rows), plan, advice=advice if any(r.failed for r in rows) else ""
    )


def remedy(chain: Chain, question: SliceQuestion) -> str:
    """What would make it fit, found by trying: more slices, the store, a larger platform; empty if nothing does."""
    more, stored = replace(question, slices=None), replace(question, transport="auto")
    tries = (("--slices {n}", more), ("--transport auto", stored))
    # Both at once only where neither helps by itself.
    both = (("--slices {n} --transport auto", replace(more, transport="auto")),)
    found = _working(chain, question, tries) or _working(chain, question, both)
    if found:
        return "use " + " or ".join(found)
    larger = larger_platform(chain, question)
    return f"choose a larger platform: --platform {larger}" if larger else ""


def _working(
    chain: Chain, question: SliceQuestion, tries: Sequence[tuple[str, SliceQuestion]]
) -> tuple[str, ...]:
    """The options that make it fit, of those to try."""
    found = []
    for words, other in tries:
        if other == question:
            continue
        try:
            plan = search(chain, with_room(replace(other, objective="slices")))
        except (Infeasible, BadDocument):
            continue
        found.append(words.format(n=len(plan.slices)))
    return tuple(found)


def _closest(ready: Prepared, question: SliceQuestion, costs: Profile | None) -> SlicePlan:
    """The plan that keeps what can be kept, so that only what cannot fails: payloads go first, then all limits."""
    place = question.platform
    sent = replace(place.limits, payload_in=None, payload_out=None)
    free = replace(
        UNBOUNDED,
        runtime_memory=place.limits.runtime_memory,
        runtime_package=place.limits.runtime_package,
    )
    try:
        kept = replace(question, platform=replace(place, limits=sent, event=None))
        return search(ready.chain, kept, preparation=ready.preparation, profile=costs)
    except Infeasible:
        unbounded = replace(place, limits=free, event=None)
        asked = replace(question, platform=unbounded, function_memory=None)
        return search(ready.chain, asked, preparation=ready.preparation, profile=costs)


def _nodes(prepared: Prepared, question: SliceQuestion) -> Iterator[Row]:
    """The largest node by itself: it must fit, or be divisible."""
    chain, limits = prepared.chain, question.platform.limits
    bound = limits.package if limits.package is not None else limits.memory
    runtime = limits.runtime_package if limits.package is not None else limits.runtime_memory
    index = max(range(len(chain)), key=lambda k: chain.part_bytes(k, k + 1))
    name, need = chain.stages[index].name, chain.part_bytes(index, index + 1) + runtime
    pieces = oversized(chain, question).get(name)
    if pieces is None:
        status: Status = "pass" if bound is None or need <= bound else "fail"
        yield Row("largest node", name, need, bound, status, "exact")
        return
    division = steady(prepared.model).division(name)
    possible = not division.reason and pieces <= division.pieces
    fix = f"is divided into {pieces} by {division.axis}" if possible else division.reason
    yield Row("largest node", name, need, bound, "divided" if possible else "fail", "exact", fix)


def plan_rows(plan: SlicePlan, chain: Chain, platform: Platform, *, timed: bool) -> Sequence[Row]:
    """The checks of a plan: package, temporary storage, payloads, memory, time."""
    limits, bind = platform.limits, bindings(chain, plan.batch, plan.dims)
    largest = max(range(len(plan.slices)), key=lambda k: plan.slices[k].weights)
    weights = plan.slices[largest].weights
    rows = [
        _row("package", _slice(largest), weights + limits.runtime_package, limits.package, "exact"),
        *_stored(largest, weights, platform),
        _layer(chain, bind, platform),
    ]
    growth = platform.payload_growth
    for name, side, bound in (
        ("payload in", "payload_in", limits.payload_in),
        ("payload out", "payload_out", limits.payload_out),
    ):
        at = max(range(len(plan.slices)), key=lambda k: getattr(plan.slices[k], side))
        rows.append(_row(name, _slice(at), getattr(plan.slices[at], side) * growth, bound, "exact"))
    if platform.event is not None:
        events = [max(piece.payload_in, piece.payload_out) for piece in plan.slices]
        at = max(range(len(events)), key=events.__getitem__)
        rows.append(_row("event", _slice(at), events[at] * growth, platform.event, "exact"))
    at = max(range(len(plan.slices)), key=lambda k: plan.slices[k].memory)
    rows.append(_row("memory", _slice(at), plan.slices[at].memory, limits.memory, "estimated"))
    seconds = [piece.seconds or 0.0 for piece in plan.slices]
    at = max(range(len(seconds)), key=seconds.__getitem__)
    if timed:
        rows.append(_row("time", _slice(at), seconds[at], limits.seconds, "measured here"))
    else:
        rows.append(
            Row(
                "time",
                "",
                None,
                limits.seconds,
                "unknown",
                "not measured",
                "time was not measured: add --measure",
            )
        )
    return rows


def _stored(largest: int, weights: int, platform: Platform) -> Iterator[Row]:
    """Where weights lie: on the disk of a device, which not every place has, and in temporary storage."""
    limits = platform.limits
    if limits.storage is not None:
        need = weights + limits.runtime("storage")
        yield _row("storage", _slice(largest), need, limits.storage, "exact")
    yield _row("temporary storage", _slice(largest), weights + limits.runtime("tmp"), limits.tmp, "exact")


def _layer(chain: Chain, bind: dict[str, int], platform: Platform) -> Row:
    """The stage that makes most: a slice that ends there could not send it inside its event."""
    sizes = [
        sum(spec.nbytes(bind) for n in stage.outputs if (spec := chain.tensors[n]).travels)
        for stage in chain.stages
    ]
    at = max(range(len(sizes)), key=sizes.__getitem__)
    bound = platform.limits.payload_out
    need = sizes[at] * platform.payload_growth
    over = sum(1 for size in sizes if bound is not None and size * platform.payload_growth > bound)
    fix = f"{over} of {len(sizes)} stages make more than one event holds: no slice ends there, or the store carries it"
    status: Status = "avoided" if over else "pass"
    return Row("payload of a layer", chain.stages[at].name, need, bound, status, "exact", fix if over else "")


def _row(check: str, where: str, need: float, bound: float | None, source: str) -> Row:
    status: Status = "pass" if bound is None or need <= bound else "fail"
    return Row(check, where, need, bound, status, source)


def _slice(index: int) -> str:
    return f"slice {index}"


def amount(row: Row, value: float | None) -> str:
    """A need or a bound in its unit."""
    if value is None:
        return "-"
    if row.check != "time":
        return print_size(round(value))
    return f"{value * 1e3:.3g} ms" if 0 < value < 1 else f"{value:.3g} s"
