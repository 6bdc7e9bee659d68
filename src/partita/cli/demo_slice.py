"""The act of `slice` in the demo: the network as functions that are too small for it, and for one of its layers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ..engine import largest_difference
from ..graph import print_size
from ..plan import Platform, pick
from ..slice import Report, SliceQuestion, capture, check, cut, explain, export, plan, rehearse, verify
from .render import Screen, milliseconds
from .slice_plan import show_report

# Less than the largest layer of the demo's network has, so that it must be divided.
ROOM = 2_300_000
REQUESTS = 8


@dataclass(frozen=True)
class Sliced:
    """What the act showed: claims with what was measured and what was predicted, and whether all held."""

    claims: list[tuple[str, str, str]]
    slices: int
    equal: bool
    warm: float
    peak: int


def small_functions() -> Platform:
    """AWS Lambda with a package that leaves room for little beside the runtime."""
    place = pick("aws-lambda")
    limits = replace(place.limits, package=place.limits.runtime_package + ROOM)
    return replace(place, name="small-functions", title="functions for the demo", limits=limits)


def act(screen: Screen, model: str) -> Sliced:
    """Export, check, plan, cut, verify, rehearse."""
    place = small_functions()
    screen.say(f"\n== Slice: {model} as functions with room for {print_size(ROOM)} of weights each")
    with tempfile.TemporaryDirectory(prefix="partita-demo-") as scratch:
        path, folder = Path(scratch) / "network.onnx", Path(scratch) / "slices"
        written = export(model, path)
        screen.say(f"exported to ONNX: {print_size(written.bytes)}, opset {written.opset}")
        question = SliceQuestion(platform=place)
        prepared = capture(path)
        report: Report = check(prepared, question)
        show_report(screen, report)
        ready, found = plan(prepared, question)
        screen.say(explain(found, ready.chain))
        cut(ready.model, found, folder)
        proof = verify(path, folder)
        values = ready.model.example(1)
        done = rehearse(folder, values, place, runs=5, concurrency=REQUESTS)
        whole = ready.model.whole(values)
    worst = max(largest_difference(answer, whole) for answer in done.answers)
    predicted = max(piece.memory for piece in found.slices)
    warm = done.warm or 0.0
    return Sliced(
        claims=[
            (f"slice: {len(found.slices)} functions, largest package", print_size(max(p.package for p in done.slices)),
             f"at most {print_size(place.limits.package or 0)}"),
            ("  largest difference from the whole model", _exact(proof.equal and worst == 0.0), "0"),
            ("  memory of the largest function", print_size(done.peak), print_size(predicted)),
            (f"  one request through all, warm; then {REQUESTS} at once, all equal", milliseconds(warm), ""),
        ],
        slices=len(found.slices),
        equal=proof.equal and worst == 0.0,
        warm=warm,
        peak=done.peak,
    )  # fmt: skip


def _exact(equal: bool) -> str:
    return "0, bit for bit" if equal else "NOT equal"
