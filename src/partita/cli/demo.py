"""`partita demo`: the main job end to end, on this machine, offline. Every act is the public API or a command."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from cyclopts import App

from ..engine import Captured, Values, largest_difference
from ..graph import Profile, parse_link
from ..plan import Plan, Question, Ranking, draw, search
from ..profile import Effort, measure, measure_codecs
from ..run import Driver, RunReport, local_remote, run_steps
from ..wire import LinkShape
from .inspect import record_lows
from .model import ModelOptions
from .plan import show_ranking
from .render import PLAIN, Column, Screen, milliseconds, size

app = App(name="demo", help="See it all work in a minute or two, offline.", default_parameter=PLAIN)

MODEL = "zoo:resnet-small"
BATCH = 8
LINK = "20mbit/10ms"
# An edge device, pretended: a Raspberry Pi 4 runs such networks about this many times slower than a laptop core.
SLOW = 8.0
STEPS = 20
CODECS = ("raw", "fp16", "int8")


@app.default
def demo(*, output: Path = Path("out"), json: bool = False) -> int:
    """Cut a small ResNet, measure it, plan it for a slow edge and a 20 Mbit/s link, run it in two processes.

    Parameters
    ----------
    output
        The folder for the picture of the plan.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    began = perf_counter()
    captured = _capture(screen)
    here = _profile(screen, captured)
    claims: list[tuple[str, str]] = []
    document = {}
    for title, codecs in (
        ("exact: only raw tensors may cross", ("raw",)),
        ("fast: lossy codecs admitted", CODECS),
    ):
        screen.say(f"\n== Plan and run, {title}")
        ranking = _plan(captured, here, codecs)
        show_ranking(screen, ranking)
        report, difference = asyncio.run(_run(screen, captured, ranking.best))
        claims += _claims(ranking, report, difference)
        document[title.partition(":")[0]] = {
            "plan": str(ranking.best),
            "step": report.step_seconds,
            "difference": difference,
        }
        output.mkdir(parents=True, exist_ok=True)
        (output / "plan.html").write_text(draw(ranking))
    screen.table("What was shown", [Column("claim"), Column("number", right=True)], claims)
    screen.say(f"picture of the last plan: {output / 'plan.html'}; all in {perf_counter() - began:.0f} s")
    screen.say(f"go on with: partita inspect {MODEL}")
    screen.result({"seconds": perf_counter() - began, **document})
    return 0


def _capture(screen: Screen) -> Captured:
    screen.say(f"== Capture {MODEL}: any nn.Module or ONNX file, nothing rewritten")
    options = ModelOptions(batch=BATCH, threads=1)
    captured = options.capture(MODEL)
    chain = captured.chain
    lows = ", ".join(
        f"{cut.after} ({size(cut.nbytes({'batch': BATCH}))})" for cut in record_lows(chain, {"batch": BATCH})
    )
    screen.say(
        f"{len(chain)} stages, {sum(cut.legal for cut in chain.cuts) - 2} legal cuts, {size(chain.part_bytes(0, len(chain)))} of parameters"
    )
    screen.say(f"input {size(chain.cut(0).nbytes({'batch': BATCH}))}; less than that crosses after {lows}")
    return captured


def _profile(screen: Screen, captured: Captured) -> Profile:
    screen.say("\n== Profile every stage here")
    taken = measure(captured, batches=(BATCH,), effort=Effort(budget=12.0))
    taken = replace(taken, codecs=measure_codecs(CODECS))
    stages = sorted(taken.stages, key=lambda stage: -stage.seconds(BATCH))[:3]
    dear = ", ".join(f"{stage.name} {milliseconds(stage.seconds(BATCH))}" for stage in stages)
    screen.say(
        f"whole model {milliseconds(taken.whole.seconds(BATCH))} at batch {BATCH} on {taken.device.processor}; dearest: {dear}"
    )
    return taken


def _plan(captured: Captured, here: Profile, codecs: tuple[str, ...]) -> Ranking:
    edge, cloud = here.slowed(SLOW), replace(here, device=replace(here.device, name="cloud"))
    question = Question(batch=BATCH, codecs=codecs)
    return search(captured.chain, {"edge": edge, "cloud": cloud}, parse_link(LINK), question, top=5)


async def _run(screen: Screen, captured: Captured, plan: Plan) -> tuple[RunReport, float]:
    """Run the plan with a second process as the cloud, and hold every output against the whole."""
    values = captured.example(BATCH)
    whole = captured.whole(values)
    worst = 0.0

    def compare(_: int, outputs: Values) -> None:
        nonlocal worst
        worst = max(worst, largest_difference(outputs, whole))

    link = parse_link(LINK)
    words = ModelOptions(batch=BATCH, threads=1).words(MODEL)
    async with local_remote(words, LinkShape(link.up, link.down, link.rtt)) as (remote, _):
        async with Driver(captured, plan, {"cloud": remote}, slow=SLOW) as driver:
            with screen.progress("running") as bar:
                report = await run_steps(
                    driver,
                    values,
                    steps=STEPS,
                    window=plan.window,
                    on_outputs=compare,
                    progress=lambda done, total: bar(done, total, ""),
                )
    return report, worst


def _claims(ranking: Ranking, report: RunReport, difference: float) -> list[tuple[str, str]]:
    plan = ranking.best
    predicted = plan.estimate.seconds if plan.estimate else 0.0
    only = {a.plan.shape: a.estimate.seconds for a in ranking.alternatives if a.plan.shape.endswith("-only")}
    exact = "0 (bit for bit)" if difference == 0.0 else f"{difference:.2g}"
    rows = [
        (
            f"plan {str(plan).partition(' | ')[0]}, K={plan.window}: measured per step",
            milliseconds(report.step_seconds),
        ),
        ("  predicted", milliseconds(predicted)),
        ("  difference from the whole model", exact),
        ("  bytes up and down per step", f"{size(report.bytes_up)}, {size(report.bytes_down)}"),
    ]
    return rows + [
        (f"  {shape} instead (predicted)", milliseconds(seconds)) for shape, seconds in _sorted(only)
    ]


def _sorted(only: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(only.items(), key=lambda item: item[1])
