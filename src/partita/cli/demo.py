"""`partita demo`: the main job end to end, on this machine, offline. Every act is the public API or a command."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

from cyclopts import App

from ..engine import Captured, Values, largest_difference
from ..graph import Profile, parse_link, print_size
from ..plan import Plan, Question, Ranking, draw, search
from ..profile import Effort, measure, measure_codecs
from ..run import Driver, Remote, local_remote, run_steps
from ..wire import LinkShape
from .app import EXIT_DEFECT
from .demo_serve import act as serve_act
from .demo_slice import act
from .demo_train import act as train_act
from .files import write_text
from .inspect import record_lows
from .model import ModelOptions
from .plan import show_ranking
from .render import PLAIN, Column, Screen, milliseconds

app = App(name="demo", help="See it all work in a minute or two, offline.", default_parameter=PLAIN)

MODEL = "zoo:resnet-small"
BATCH = 8
LINK = "20mbit/10ms"
# An edge device, pretended: a Raspberry Pi 4 runs such networks about this many times slower than a laptop core.
SLOW = 8.0
STEPS = 20
# The plans compared with are slower, and need fewer steps to show it.
COMPARED = 5
CODECS = ("raw", "fp16", "int8")


@app.default
def demo(*, output: Path = Path("out"), json: bool = False) -> int:
    """Cut a small ResNet, plan it for a slow edge and a 20 Mbit/s link, run it in two processes; then as small functions; then serve one with exits.

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
    claims: list[tuple[str, str, str]] = []
    document: dict[str, object] = {}
    equal = True
    output.mkdir(parents=True, exist_ok=True)
    for name, codecs in (("exact", ("raw",)), ("compressed", CODECS)):
        screen.say(f"\n== Plan and run, {name}: {', '.join(codecs)} may cross a link of {LINK}")
        ranking = _plan(captured, here, codecs)
        show_ranking(screen, ranking)
        write_text(output / f"{name}.html", draw(ranking))
        runs = asyncio.run(_runs(screen, captured, ranking))
        claims += _claims(name, runs)
        equal = equal and (name != "exact" or all(run.difference == 0.0 for run in runs))
        document[name] = [asdict(run) for run in runs]
    sliced = act(screen, MODEL)
    claims += sliced.claims
    trained = train_act(screen)
    served = serve_act(screen)
    claims += trained.claims + served.claims
    equal = equal and sliced.equal and trained.equal and served.equal
    document |= {"slice": asdict(sliced), "train": asdict(trained), "serve": asdict(served)}
    screen.table(
        "What was shown",
        [Column("claim"), Column("measured", right=True), Column("predicted", right=True)],
        claims,
    )
    seconds = perf_counter() - began
    screen.say(
        f"the plans as pictures: {output}/exact.html, {output}/compressed.html; all in {seconds:.0f} s"
    )
    screen.say(
        f"go on with: partita inspect {MODEL}, partita plan --help, partita train --help, partita slice --help, partita doctor"
    )
    screen.result({"seconds": seconds, **document})
    return 0 if equal else EXIT_DEFECT


@dataclass(frozen=True)
class Run:
    """One plan, run: what it took, what was predicted, how far its outputs were from the whole."""

    plan: str
    seconds: float
    predicted: float
    difference: float
    up: int
    down: int


def _capture(screen: Screen) -> Captured:
    screen.say(f"== Capture {MODEL}: any nn.Module or ONNX file, nothing rewritten")
    options = ModelOptions(batch=BATCH, threads=1)
    captured = options.capture(MODEL)
    chain = captured.chain
    lows = ", ".join(
        f"{cut.after} ({print_size(cut.nbytes({'batch': BATCH}))})"
        for cut in record_lows(chain, {"batch": BATCH})
    )
    screen.say(
        f"{len(chain)} stages, {sum(cut.legal for cut in chain.cuts) - 2} legal cuts, {print_size(chain.part_bytes(0, len(chain)))} of parameters"
    )
    screen.say(
        f"input {print_size(chain.cut(0).nbytes({'batch': BATCH}))}; less than that crosses after {lows}"
    )
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


async def _runs(screen: Screen, captured: Captured, ranking: Ranking) -> list[Run]:
    """Run the winner and the two plans everybody would compare with, all with a second process as the cloud."""
    alone = [a.plan for a in ranking.alternatives[1:] if a.plan.shape.endswith("-only")]
    link = parse_link(LINK)
    words = ModelOptions(batch=BATCH, threads=1).words(MODEL)
    shape = LinkShape(link.up, link.down, link.rtt)
    runs = []
    async with local_remote(words, shape) as (remote, _):
        with screen.progress("running") as bar:
            for plan, steps in ((ranking.best, STEPS), *((plan, COMPARED) for plan in alone)):
                runs.append(await _run(captured, plan, remote, steps))
                bar(len(runs), len(alone) + 1, plan.shape)
    return runs


async def _run(captured: Captured, plan: Plan, remote: Remote, steps: int) -> Run:
    """Run one plan and hold every output against the whole."""
    values = captured.example(BATCH)
    whole = captured.whole(values)
    worst = 0.0

    def compare(_: int, outputs: Values) -> None:
        nonlocal worst
        worst = max(worst, largest_difference(outputs, whole))

    async with Driver(captured, plan, {"cloud": remote}, slow=SLOW) as driver:
        report = await run_steps(driver, values, steps=steps, window=plan.window, on_outputs=compare)
    predicted = plan.estimate.seconds if plan.estimate is not None else 0.0
    text = str(plan).partition(" | ")[0] + (f" K={plan.window}" if plan.window else "")
    return Run(text, report.step_seconds, predicted, worst, report.bytes_up, report.bytes_down)


def _claims(name: str, runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    best, others = runs[0], runs[1:]
    exact = "0, bit for bit" if best.difference == 0.0 else f"{best.difference:.2g}"
    rows = [
        (f"{name}: {best.plan}, per step", milliseconds(best.seconds), milliseconds(best.predicted)),
        ("  largest difference from the whole model", exact, "0" if name == "exact" else ""),
        ("  bytes up and down per step", f"{print_size(best.up)}, {print_size(best.down)}", ""),
    ]
    return rows + [
        (f"  instead {run.plan}", milliseconds(run.seconds), milliseconds(run.predicted)) for run in others
    ]
