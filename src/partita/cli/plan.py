"""`partita plan MODEL`: which part runs where, the ranked alternatives, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..engine import Captured
from ..errors import BadDocument, NotFound
from ..graph import Chain, Profile, dump, parse_link, print_size
from ..plan import Limits, Mode, Objective, Question, Ranking, draw, load_limits, platform, search
from ..run import codec_option
from .files import check_writable, read_noun, read_text, write_text
from .model import ModelOptions, slowness
from .profile import codec_names, measured_here
from .render import PLAIN, Column, Screen, milliseconds

app = App(name="plan", help="Decide which part runs where, and explain why.", default_parameter=PLAIN)

DEFAULTS = ModelOptions()
PLACES = ("edge", "cloud")


@app.default
def plan(
    model: str,
    *,
    link: str,
    options: ModelOptions = DEFAULTS,
    profile: tuple[str, ...] = (),
    slow: tuple[str, ...] = (),
    limits: tuple[str, ...] = (),
    objective: Objective = "throughput",
    mode: Mode = "infer",
    codecs: str = "raw,fp16,int8",
    max_error: float | None = None,
    max_window: int = 4,
    one_cut: bool = False,
    labels_private: bool = False,
    min_front: int = 0,
    min_tail: int = 0,
    top: int = 8,
    draw_to: Annotated[Path | None, Parameter(name="--draw")] = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    json: bool = False,
) -> int:
    """Rank the ways to run a model on an edge device and in the cloud.

    Parameters
    ----------
    model
        A model reference, as for `partita inspect`, or a chain file that `partita inspect -o` wrote.
    link
        The connection, like 20mbit/40ms or up=5mbit,down=20mbit,rtt=40ms.
    profile
        A profile of a place, like edge=pi4.json; measured on this machine for a place without one.
    slow
        Pretend that a place is slower, like edge=8; for what-if questions.
    limits
        What a place allows, like edge=edge-512mb or cloud=limits.json.
    objective
        What to make small: time per step with several on their way (throughput), time of one step (latency), the peak
        memory of the place that needs most, the energy, the bytes that cross, or the number of parts.
    mode
        infer, or train for steps with a backward pass.
    codecs
        The codecs that may be used, like raw,int8.
    max_error
        The largest relative error that a codec may make.
    max_window
        How many steps may be on their way besides the oldest.
    one_cut
        Leave plans out that come back to the edge for the last stages.
    labels_private
        Keep the loss, and so the labels, on the edge.
    min_front
        Keep at least so many first stages on the edge.
    min_tail
        Keep at least so many last stages on the edge.
    top
        How many alternatives to show.
    draw_to
        Write a picture as one HTML page: costs along the chain, bytes at each cut, the chosen cut.
    output
        Write the best plan as JSON to this file.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    names, between, bounds = codec_names(codecs), parse_link(link), _limits(limits)
    _check_numbers(top, max_error)
    files, factors = pairs(profile, "--profile", "edge=pi4.json"), slowness(slow, PLACES)
    check_writable(output, draw_to)
    chain, captured = _chain(model, options)
    if min_front + min_tail > len(chain):
        problem = f"--min-front {min_front} and --min-tail {min_tail} are more than the {len(chain)} stages of the model"
        raise BadDocument("plan", [problem], fix="`partita inspect` lists the stages")
    question = Question(
        objective=objective,
        mode=mode,
        batch=options.batch,
        dims={name: value for name, value in options.bind(chain).items() if name != "batch"},
        codecs=names,
        options={name: codec_option(name) for name in names},
        max_error=max_error,
        max_window=max_window,
        two_cuts=not one_cut,
        labels_private=labels_private,
        min_front=min_front,
        min_tail=min_tail,
    )
    profiles = _profiles(files, factors, captured, question)
    ranking = search(chain, profiles, between, question, limits=bounds, top=top)
    if output is not None:
        write_text(output, dump(ranking.best))
    if draw_to is not None:
        write_text(draw_to, draw(ranking))
    show_ranking(screen, ranking)
    for path, what in ((output, "plan"), (draw_to, "picture")):
        if path is not None:
            screen.say(f"{what} written to {path}")
    screen.result(_document(ranking))
    return 0


def _chain(model: str, options: ModelOptions) -> tuple[Chain, Captured | None]:
    """The chain of a model, or of a file that holds one."""
    if not model.endswith(".json"):
        captured = options.capture(model)
        return captured.chain, captured
    return read_noun(Chain, Path(model), fix="write one: partita inspect MODEL --output chain.json"), None


def _check_numbers(top: int, max_error: float | None) -> None:
    problems = [f"--top: {top} is not a positive number"] if top < 1 else []
    if max_error is not None and not 0 <= max_error < float("inf"):
        problems.append(f"--max-error: {max_error} is not a number of 0 or more")
    if problems:
        raise BadDocument("plan", problems, fix="leave it out, or give a larger one")


def pairs(texts: tuple[str, ...], option: str, example: str) -> dict[str, str]:
    """`edge=...` options by place; all bad ones are named."""
    found: dict[str, str] = {}
    problems = []
    for text in texts:
        place, _, value = text.partition("=")
        if place not in PLACES or not value:
            problems.append(f"{text!r} is not PLACE=VALUE with PLACE one of {', '.join(PLACES)}")
        found[place] = value
    if problems:
        raise BadDocument(option, problems, fix=f"write it like {option} {example}")
    return found


def _profiles(
    files: Mapping[str, str], factors: Mapping[str, float], captured: Captured | None, question: Question
) -> dict[str, Profile]:
    """A profile for each place: from its file, or measured here."""
    here: Profile | None = None
    profiles: dict[str, Profile] = {}
    for place in PLACES:
        if place in files:
            fix = "write one: partita profile MODEL -o profile.json"
            profiles[place] = read_noun(Profile, Path(files[place]), fix=fix)
            continue
        if captured is None:
            raise NotFound(
                f"--profile {place}=FILE is missing",
                fix="a chain file cannot be measured: give both profiles",
            )
        if here is None:
            here = measured_here(
                captured,
                question.batch,
                seconds=15.0,
                backward=question.mode == "train",
                codecs=question.codecs,
            )
        profiles[place] = replace(here, device=replace(here.device, name=f"{here.device.name} ({place})"))
    return {
        place: profile.slowed(factors.get(place, 1.0)) if place in factors else profile
        for place, profile in profiles.items()
    }


def _limits(texts: tuple[str, ...]) -> dict[str, Limits]:
    found = {}
    for place, name in pairs(texts, "--limits", "edge=edge-512mb").items():
        if Path(name).is_file():
            text = read_text(
                Path(name), "limits", fix="give a JSON file of limits, or the name of a platform"
            )
            found[place] = load_limits(text, name=name)
        else:
            found[place] = platform(name)
    return found


def show_ranking(screen: Screen, ranking: Ranking) -> None:
    """The alternatives as a table, then the explanation."""
    columns = [
        Column("", right=True),
        Column("plan"),
        Column("per step", right=True),
        Column("one alone", right=True),
        Column("bottleneck"),
        Column("up", right=True),
        Column("down", right=True),
        Column("edge memory", right=True),
        Column("joules", right=True),
    ]
    rows = [
        (
            index,
            str(a.plan).partition(" | ")[0] + (f" K={a.plan.window}" if a.plan.window else ""),
            milliseconds(a.estimate.seconds),
            milliseconds(a.estimate.latency),
            f"{a.estimate.bottleneck} {milliseconds(a.estimate.busy.get(a.estimate.bottleneck, 0.0))}",
            print_size(a.estimate.bytes_up),
            print_size(a.estimate.bytes_down),
            print_size(a.estimate.memory.get(PLACES[0], 0)),
            f"{sum(a.estimate.joules.values()):.3g}" if a.estimate.joules else "-",
        )
        for index, a in enumerate(ranking.alternatives, 1)
    ]
    question = ranking.question
    title = f"{ranking.chain.name}: best {question.objective}, {question.mode}, batch {question.batch}, of {ranking.considered} plans"
    screen.table(title, columns, rows, marks=[0])
    screen.say(ranking.explanation)


def _document(ranking: Ranking) -> Mapping[str, Any]:
    import json

    return {
        "best": json.loads(dump(ranking.best)),
        "text": str(ranking.best),
        "considered": ranking.considered,
        "alternatives": [
            {
                "plan": str(a.plan),
                "seconds": a.estimate.seconds,
                "latency": a.estimate.latency,
                "bottleneck": a.estimate.bottleneck,
                "bytes_up": a.estimate.bytes_up,
                "bytes_down": a.estimate.bytes_down,
                "memory": dict(a.estimate.memory),
                "joules": dict(a.estimate.joules),
            }
            for a in ranking.alternatives
        ],
        "explanation": ranking.explanation,
        "notes": list(ranking.notes),
    }
