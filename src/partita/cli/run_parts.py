"""`partita run-parts`: a model in parts, in two processes here or across two machines, against the model whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..engine import Captured, Values, largest_difference
from ..errors import BadDocument
from ..graph import print_size
from ..plan import Hop, PlacedPart, Plan, parse_plan
from ..run import Driver, Remote, RunReport, check_plan, local_remote, run_steps
from ..wire import LinkShape, parse_codec, parse_shape
from .access import AccessOptions, connect_to
from .files import read_noun
from .model import ModelOptions, slowness
from .place import Service, serve
from .render import PLAIN, Column, Screen, milliseconds

app = App(
    name="run-parts",
    help="Run a model in parts, here in two processes or across two machines.",
    default_parameter=PLAIN,
)

DEFAULTS = ModelOptions()
NO_ACCESS = AccessOptions()
EDGE, CLOUD = "edge", "cloud"


@app.default
def run_parts(
    model: str,
    *,
    options: ModelOptions = DEFAULTS,
    access: AccessOptions = NO_ACCESS,
    plan: Annotated[str | None, Parameter(alias="-p")] = None,
    cut: str | None = None,
    codec: str = "raw",
    window: int = 0,
    link: str | None = None,
    slow: tuple[str, ...] = (),
    steps: int = 20,
    cloud: str | None = None,
    listen: str | None = None,
    until_eof: bool = False,
    json: bool = False,
) -> int:
    """Run a model in parts and compare with the model whole. Without --cloud, the cloud is a second process here.

    Parameters
    ----------
    model
        A model reference, as for `partita inspect`. Both sides name the same one.
    plan
        A plan: a file that `partita plan` wrote, or its text form.
    cut
        Instead of a plan: one position (edge | cloud) or two like 3,9 (edge | cloud | edge).
    codec
        The codec of what crosses, with --cut.
    window
        How many steps may be on their way besides the oldest, with --cut.
    link
        Make the link to the second process this slow, like 20mbit/40ms.
    slow
        Pretend that a place is slower, like edge=8; with --listen, this place is the cloud.
    steps
        How many steps to run and time.
    cloud
        Where a place listens, like ws://host:7700; a second process here if not given.
    listen
        Be the place instead: serve this model's parts at HOST:PORT.
    until_eof
        With --listen: end when standard input ends.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    factors, shape = slowness(slow, (EDGE, CLOUD)), parse_shape(link) if link else None
    _check_together(plan=plan, cut=cut, cloud=cloud, listen=listen, link=link, steps=steps, window=window)
    parse_codec(codec)
    if listen is not None:
        return asyncio.run(
            serve(screen, Service(model, options, access, listen, factors.get(CLOUD, 1.0), until_eof))
        )
    captured = options.capture(model)
    order = (
        _plan(plan, captured, options.batch)
        if plan is not None
        else _from_cuts(captured, cut, codec, window, options.batch)
    )
    if order.mode == "train":
        screen.remark("this is a plan for training; run-parts runs its forward passes only")
        order = replace(order, mode="infer", estimate=None)
    check_plan(captured, order)
    wanted = _Wanted(model, captured, order, options, access, cloud, shape, steps, factors)
    outcome = asyncio.run(_run(screen, wanted))
    _show(screen, order, outcome)
    return 0


def _check_together(
    *,
    plan: str | None,
    cut: str | None,
    cloud: str | None,
    listen: str | None,
    link: str | None,
    steps: int,
    window: int,
) -> None:
    """Refuse options that contradict each other, all at once, before a model is built."""
    pairs = (
        ("--plan", plan, "--cut", cut),
        ("--cloud", cloud, "--listen", listen),
        ("--cloud", cloud, "--link", link),
    )
    problems = [f"{a} and {b} exclude each other" for a, x, b, y in pairs if x is not None and y is not None]
    problems += [f"--steps: {steps} is not a positive number"] if steps < 1 else []
    problems += [f"--window: {window} is below 0"] if window < 0 else []
    if cut is not None:
        words = [word.strip() for word in cut.split(",")]
        if not all(word.isdigit() for word in words) or len(words) > 2 or words != sorted(words, key=int):
            problems.append(f"--cut: {cut!r} is not one position, or two in order like 3,9")
    if problems:
        raise BadDocument("run-parts", problems, fix="see `partita run-parts --help`")


@dataclass(frozen=True)
class _Wanted:
    """One run, as it was asked for."""

    model: str
    captured: Captured
    plan: Plan
    options: ModelOptions
    access: AccessOptions
    cloud: str | None
    shape: LinkShape | None
    steps: int
    slow: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What a run showed: its times, and how far its outputs are from those of the model whole."""

    report: RunReport
    difference: float
    stats: Mapping[str, Any]


def _plan(text: str, captured: Captured, batch: int) -> Plan:
    """A plan from a file, or from its text form."""
    if "[" not in text or Path(text).is_file():
        return read_noun(
            Plan, Path(text), fix="write one with `partita plan MODEL -o plan.json`, or give its text form"
        )
    order = parse_plan(text)
    return Plan(
        captured.chain.name, captured.chain.digest, order.parts, order.hops, order.window, batch, order.mode
    )


def _from_cuts(captured: Captured, cut: str | None, codec: str, window: int, batch: int) -> Plan:
    """The plan that `--cut` describes; the middle of the chain where nothing was said."""
    chain = captured.chain
    if cut is None:
        legal = [c.position for c in chain.cuts[1:-1] if c.legal] or [0]
        cuts = [min(legal, key=lambda position: abs(2 * position - len(chain)))]
    else:
        cuts = [int(word) for word in cut.split(",")]
        for position in cuts:
            chain.legal_cut(position)
    ends = [0, *cuts, len(chain)]
    places = [EDGE, CLOUD, EDGE]
    parts = tuple(PlacedPart(places[i], ends[i], ends[i + 1]) for i in range(len(ends) - 1))
    hops = tuple(Hop(codec, codec) for _ in parts[1:])
    return Plan(chain.name, chain.digest, parts, hops, window, batch)


async def _run(screen: Screen, wanted: _Wanted) -> Outcome:
    """Run the plan and hold its outputs against the whole."""
    values = wanted.captured.example(wanted.options.batch, wanted.options.seed)
    whole = wanted.captured.whole(values)
    worst = 0.0

    def compare(_: int, outputs: Values) -> None:
        nonlocal worst
        worst = max(worst, largest_difference(outputs, whole))

    async with _remotes(wanted) as (remotes, connection):
        async with Driver(wanted.captured, wanted.plan, remotes, slow=wanted.slow.get(EDGE, 1.0)) as driver:
            with screen.progress("running") as bar:
                report = await run_steps(
                    driver,
                    values,
                    steps=wanted.steps,
                    window=wanted.plan.window,
                    on_outputs=compare,
                    progress=lambda done, total: bar(done, total, ""),
                )
        stats = asdict(connection.stats) if connection is not None else {}
    return Outcome(report, worst, stats)


@asynccontextmanager
async def _remotes(wanted: _Wanted) -> AsyncIterator[tuple[dict[str, Remote], Any]]:
    """A remote for each place of the plan that is not the edge."""
    away = [place for place in wanted.plan.places if place != EDGE]
    if wanted.plan.parts[0].place != EDGE:
        raise BadDocument(
            "plan",
            [f"begins at {wanted.plan.parts[0].place!r}, not at {EDGE!r}"],
            fix=f"the inputs are at {EDGE!r}: begin there, like `edge -raw-> cloud[0:9]`",
        )
    if len(away) > 1:
        raise BadDocument(
            "plan",
            [f"names {len(away)} places besides {EDGE}: {', '.join(away)}"],
            fix="run-parts drives one other place",
        )
    if not any(not part.empty and part.place in away for part in wanted.plan.parts):
        yield {}, None
        return
    async with AsyncExitStack() as stack:
        if wanted.cloud is None:
            remote, connection = await stack.enter_async_context(local_remote(_words(wanted), wanted.shape))
        else:
            connection = await stack.enter_async_context(connect_to(wanted.cloud, wanted.access))
            remote = await stack.enter_async_context(Remote(connection))
        yield {away[0]: remote}, connection


def _words(wanted: _Wanted) -> list[str]:
    """What the second process is told: the same model, and how slow it is."""
    slow = [f"--slow={CLOUD}={wanted.slow[CLOUD]}"] if CLOUD in wanted.slow else []
    return [*wanted.options.words(wanted.model), *slow]


def _show(screen: Screen, plan: Plan, outcome: Outcome) -> None:
    report = outcome.report
    exact = outcome.difference == 0.0
    rows = [
        ("time per step", milliseconds(report.step_seconds)),
        (
            "one step alone" if plan.window == 0 else f"one step of {plan.window + 1} on their way",
            milliseconds(report.latency),
        ),
        ("computed here", milliseconds(report.local_seconds)),
        ("computed there", milliseconds(report.remote_seconds)),
        ("sent per step", print_size(report.bytes_up)),
        ("received per step", print_size(report.bytes_down)),
        ("difference from the whole", "0 (bit for bit)" if exact else f"{outcome.difference:.3g}"),
    ]
    if plan.estimate is not None:
        rows.insert(1, ("predicted per step", milliseconds(plan.estimate.seconds)))
    screen.say(str(plan))
    screen.table("", [Column("what"), Column("value", right=True)], rows)
    if not exact and any(hop.forward != "raw" for hop in plan.hops):
        screen.say("the difference is that of the codec; with raw it is that of the kernels")
    screen.result(
        {
            "plan": str(plan),
            "difference": outcome.difference,
            "report": asdict(report),
            "connection": dict(outcome.stats),
        }
    )
