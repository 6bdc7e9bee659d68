"""`partita serve execute`, `explain` and `simulate`: how deep requests run, live, in words, and before it is built."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from math import inf, isfinite
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..engine import Values
from ..errors import BadDocument, NotFound
from ..profile import steady_heap
from ..serve import (
    Arrival,
    Bounds,
    Burst,
    Calibration,
    ConditionalExecutor,
    ExitModel,
    ExitProfile,
    Policy,
    Report,
    SchedulerSettings,
    Stream,
    Tally,
    Tenant,
    Truth,
    TruthTable,
    bounded,
    draw,
    execute_files,
    load_profile,
    made_inputs,
    parse_policy,
    profile_from_original,
    read_policy,
    read_trace,
    reason_request,
    scheduler_for,
)
from ..serve import simulate as run_simulation
from .files import read_noun, read_text
from .render import Column, Screen, milliseconds
from .serve_bounds import BoundOptions
from .serve_model import CALIBRATION, TRUTH, check_threads

# More requests than this do not fit into memory together with what is kept of each.
MOST_REQUESTS = 5_000_000
NO_BOUNDS = BoundOptions()


def execute(
    model: Path,
    *,
    conditions: Path,
    then: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    seconds: float = 10.0,
    threads: int = 1,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Run requests one after another under conditions, then under others, and log every one.

    Parameters
    ----------
    model
        A model folder.
    conditions
        Conditions or a policy: a list with one condition per exit, as in conditions_20ms.json.
    then
        What to go on with; requests are never lost in between.
    seconds
        How long under each of them.
    threads
        How many threads one run may use.
    seed
        The seed of the made-up input.
    json
        Print one JSON document; the log goes to stderr.
    """
    screen = Screen(as_json=json)
    problems = [] if 0 < seconds < inf else [f"--seconds: {seconds:g} is not a time above 0"]
    problems += _seed_problems(seed)
    if problems:
        raise BadDocument("serve execute", problems, fix="give numbers like --seconds 10 --seed 0")
    check_threads(threads)
    # Before the first array: memory that comes and goes would cost time in the middle of a request.
    steady_heap()
    opened = ExitModel.open(model, threads=threads)
    profile = load_profile(opened)
    values: Values = made_inputs(opened.manifest, opened.manifest.batch or 1, seed)
    files = [conditions, *then]
    first = read_policy(files[0], profile)
    executor = ConditionalExecutor(opened, first, profile, calibration=_calibration(model))
    opened.warm((opened.manifest.batch or 1,), spans=False)
    say = screen.remark if json else screen.say
    done = execute_files(executor, files, lambda _: values, seconds=seconds, say=say)
    for file, summary in zip(files, done, strict=True):
        screen.say(f"{file}: {summary}")
    screen.result({"runs": [{"file": str(f), **asdict(s)} for f, s in zip(files, done, strict=True)]})
    return 0


def _calibration(model: Path) -> Calibration | None:
    path = model / CALIBRATION
    return read_noun(Calibration, path, fix=f"partita serve calibrate {model}") if path.is_file() else None


def _profile(model: Path) -> ExitProfile:
    """The profile in a model folder, or a profile file by itself: no network is needed to think about it."""
    if model.is_dir():
        return read_noun(
            ExitProfile, model / "profile.json", fix=f"measure it: partita serve profile {model}"
        )
    text = read_text(model, "model folder or profile", fix="write one: partita serve export RUN -o MODEL")
    return profile_from_original(text, name=str(model))


def _seed_problems(seed: int) -> list[str]:
    return [] if seed >= 0 else [f"--seed: {seed} is below 0"]


def _policy(path: Path | None, profile: ExitProfile) -> Policy:
    if path is None:
        return parse_policy({"version": 1}, profile=profile)
    return read_policy(path, profile)


def explain(
    model: Path,
    *,
    policy: Path | None = None,
    bounds: BoundOptions = NO_BOUNDS,
    load: float = 0.0,
    json: bool = False,
) -> int:
    """Say what would be done with a request, and why.

    Parameters
    ----------
    model
        A model folder, or its profile.json.
    policy
        A policy or a list of conditions; none if not given.
    load
        The work that arrives, as a share of what the device can do when every request runs to the end.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    if not 0 <= load < inf:
        raise BadDocument("serve explain", [f"--load: {load:g} is no share from 0 up"], fix="--load 0.8")
    profile, asked = _profile(model), bounds.bounds()
    calibration = _calibration(model) if model.is_dir() else None
    rules = _policy(policy, profile)
    found = reason_request(profile, calibration, rules, asked, load=load)
    screen.say(str(found).rstrip())
    screen.result(asdict(found))
    return 0


def simulate(
    model: Path,
    *,
    policy: Path | None = None,
    trace: Path | None = None,
    rate: float | None = None,
    burst: str = "",
    deadlines_ms: str = "",
    tenants: str = "",
    bounds: BoundOptions = NO_BOUNDS,
    seconds: float = 20.0,
    workers: int = 1,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Let the scheduler serve requests that never were: measured stage times, answers from held-out data.

    Parameters
    ----------
    model
        A model folder with profile.json and truth.npz.
    policy
        A policy; none if not given.
    trace
        A CSV file of arrivals with the column time, and tenant, deadline_ms and so on where they matter.
    rate
        Requests per second, instead of a trace.
    burst
        In the middle third, so many times the rate, like 3x.
    deadlines_ms
        Deadlines to draw from, like 60,100,200.
    tenants
        Who sends, with weights, like a:1,b:3; each sends its share of the rate.
    seconds
        How long requests come.
    workers
        How many stages run at the same time.
    seed
        Decides arrivals, samples and noise.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    profile, calibration = _profile(model), _calibration(model)
    if not profile.timed:
        raise BadDocument(
            "exit profile", ["stages: no times were measured"], fix=f"partita serve profile {model}"
        )
    shares, asked = _tenants(tenants), bounds.bounds()
    _check_source(trace, rate, seconds, burst, deadlines_ms, asked, seed)
    if trace is not None:
        arrivals = read_trace(read_text(trace, "trace", fix="a CSV file with a column time"), name=str(trace))
    else:
        arrivals = _drawn(rate or 0.0, shares, burst, deadlines_ms, asked, seconds, seed)
    rules = _policy(policy, profile)
    scheduler = scheduler_for(
        profile, rules, calibration, tenants=shares, settings=SchedulerSettings(workers=workers)
    )
    report = run_simulation(
        scheduler,
        bounded(arrivals, rules, profile),
        profile,
        _truth(model),
        workers=workers,
        infeasible=rules.on_infeasible,
        seed=seed,
    )
    show_simulation(screen, profile, report)
    screen.result({"model": profile.model, "policy": rules.version, **report.as_dict()})
    return 0


def _check_source(
    trace: Path | None,
    rate: float | None,
    seconds: float,
    burst: str,
    deadlines: str,
    asked: Bounds,
    seed: int,
) -> None:
    """Requests come from one place, and nothing that was asked for is left out in silence."""
    problems, fix = _seed_problems(seed), "give numbers from 0"
    if (trace is None) == (rate is None):
        problems.append("give one of --trace and --rate" + ("" if trace is None else ", not both"))
        fix = "as in --rate 500, or --trace arrivals.csv"
    elif trace is not None and (burst or deadlines or asked != Bounds()):
        problems.append("bursts, deadlines and bounds are those of the --trace")
        fix = "write them into the trace's columns, or under slo in a --policy"
    elif rate is not None and isfinite(rate) and rate * seconds > MOST_REQUESTS:
        problems.append(f"{rate:g} requests per second for {seconds:g} s are more than {MOST_REQUESTS}")
        fix = "give a smaller --rate or fewer --seconds"
    if problems:
        raise BadDocument("serve simulate", problems, fix=fix)


def _truth(model: Path) -> TruthTable:
    path = model / TRUTH
    if not path.is_file():
        raise NotFound(
            f"{model} has no {TRUTH}: what each exit says of held-out samples",
            fix=f"collect it: partita serve profile {model} --data FOLDER"
            if model.is_dir()
            else f"give the model folder, which holds {TRUTH} and calibration.json too",
        )
    held = Truth.load(path)
    return TruthTable(held.confidence.astype(float), held.correct)


def _tenants(text: str) -> list[Tenant]:
    """`a:1,b:3` as tenants."""
    found, problems = [], []
    for word in filter(None, text.split(",")):
        name, _, weight = word.strip().partition(":")
        number = _number(weight or "1")
        if not name or number is None or not 0 < number < inf:
            problems.append(f"{word!r} is not NAME:WEIGHT")
        else:
            found.append(Tenant(name, number))
    if problems:
        raise BadDocument("--tenants", problems, fix="write it like --tenants a:1,b:3")
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _drawn(
    rate: float, tenants: list[Tenant], burst: str, deadlines: str, asked: Bounds, seconds: float, seed: int
) -> tuple[Arrival, ...]:
    bursts: tuple[Burst, ...] = ()
    if burst:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)x", burst.strip())
        if match is None:
            raise BadDocument("--burst", [f"{burst!r} is not like 3x"], fix="write it like --burst 3x")
        factor = float(match[1])
        if rate * seconds * (2 + factor) / 3 > MOST_REQUESTS:
            problem = (
                f"{factor:g} times {rate:g} requests per second are more than {MOST_REQUESTS} requests in all"
            )
            raise BadDocument(
                "--burst", [problem], fix="give a smaller burst, a smaller --rate or fewer --seconds"
            )
        bursts = (Burst(seconds / 3, seconds / 3, factor),)
    limits = [_number(word) for word in filter(None, deadlines.split(","))]
    known = [limit for limit in limits if limit is not None]
    if len(known) < len(limits) or not all(0 < limit < inf for limit in known):
        raise BadDocument(
            "--deadlines-ms",
            [f"{deadlines!r} is not a list of numbers above 0"],
            fix="write it like --deadlines-ms 60,100",
        )
    who = tenants or [Tenant("default")]
    whole = sum(tenant.weight for tenant in who)
    streams = [
        Stream(rate * t.weight / whole, t.name, tuple(ms / 1e3 for ms in known), asked, bursts) for t in who
    ]
    return draw(streams, seconds, seed=seed)


def show_simulation(screen: Screen, profile: ExitProfile, report: Report) -> None:
    """What came of everybody, and of each tenant."""
    titles = ("who", "requests", "in time", "right", "exits", "p50", "p99", "refused", "degraded")
    columns = [Column(title, right=title != "who") for title in titles]
    groups: dict[str, Tally] = {"all": report.whole}
    if len(report.tenants) > 1:
        groups |= report.tenants
    percent: Callable[[float | None], str] = lambda share: "-" if share is None else f"{share:.2%}"  # noqa: E731
    time: Callable[[float | None], str] = lambda value: "-" if value is None else milliseconds(value)  # noqa: E731
    rows = [
        (
            name,
            tally.requests,
            percent(tally.in_time),
            percent(tally.accuracy),
            "/".join(map(str, tally.exits)),
            time(tally.latency_p50),
            time(tally.latency_p99),
            tally.rejected + tally.expired,
            tally.degraded,
        )
        for name, tally in groups.items()
    ]
    screen.table(
        f"{profile.model}, simulated from stage times of {profile.device or 'a file'}", columns, rows
    )
