"""`partita train simulate`: a training before anybody owns the devices, against bandwidth or over a trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import BadDocument
from ..graph import parse_seconds
from ..train import (
    Case,
    Length,
    Moment,
    made_moments,
    original_cases,
    parse_links,
    parse_slowdowns,
    read_moments,
    replay,
    slowed,
    slower,
    sweep_links,
)
from .files import check_writable, read_text
from .profile import codec_names
from .render import Screen
from .train_simulate_case import own_case
from .train_simulate_view import show_replays, show_sweeps

# Shorter than any training; longer ones take minutes to play.
MOST_STEPS = 2_000_000
SWEEP, CODECS = "1..200", "raw,fp16,int8"


def simulate(
    model: str = "",
    *,
    profile: tuple[str, ...] = (),
    original: Path | None = None,
    network: tuple[str, ...] = (),
    device: tuple[str, ...] = (),
    bandwidth: str = "",
    rtt: str = "0ms",
    shared: bool = False,
    trace: str = "",
    slow: tuple[str, ...] = (),
    epochs: int = 1,
    steps: int = 1000,
    batch: int | None = None,
    codecs: str = CODECS,
    max_window: int = 4,
    labels_private: bool = False,
    min_front: int = 0,
    one_cut: bool = False,
    formula: bool = False,
    noise: float = 0.0,
    seed: int = 0,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    json: bool = False,
) -> int:
    """Say how fast a training would be on devices that one does not own, against bandwidth or over a trace.

    Parameters
    ----------
    model
        A model reference, or a chain file that `partita inspect -o` wrote; found by the profiles if not given.
    profile
        A profile of the edge, then one of the cloud, as `partita profile --backward -o` wrote them.
    original
        Instead of profiles, the folder with the CSV tables of the original research project.
    network
        One of its networks, like resnet50; all if not given.
    device
        One of its devices, like tx2; all if not given.
    bandwidth
        Mbit/s, like 1..200, 2,10,50 or 5:20 for up and down.
    rtt
        The round trip, like 40ms.
    shared
        Both directions take turns on one medium, as on Wi-Fi.
    trace
        Instead of bandwidths, a CSV file with rows of seconds,mbit or seconds,mbit_up,mbit_down,rtt_ms; or a made-up
        one: made:step, made:wifi, made:train.
    slow
        A device that is slower, always or for a while, like edge=4 or edge=4@60s..120s.
    epochs
        How many epochs the training over a trace has.
    steps
        How many steps an epoch has.
    batch
        The batch size; the largest that both profiles hold if not given.
    codecs
        The codecs that may be used, like raw,int8.
    max_window
        How many steps may be on their way besides the oldest.
    labels_private
        Keep the loss, and so the labels, on the edge.
    min_front
        So many first stages stay on the edge, and with them the raw inputs.
    one_cut
        Leave plans out that come back to the edge for the last stages.
    formula
        With --original: count what its formula counts, no time for a codec and gradients always.
    noise
        How much each time varies, like 0.2; drawn from the seed.
    seed
        Decides the noise, and the rates of made:wifi.
    output
        Write pictures and tables as one HTML page.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    check_writable(output)
    problems = _problems(model, profile, original, trace, bandwidth, slow, epochs, steps, noise)
    problems += (
        []
        if original or not (network or device or formula)
        else ["--network, --device and --formula are of --original"]
    )
    if problems:
        raise BadDocument("train simulate", problems, fix="see `partita train simulate --help`")
    trip, names = parse_seconds(rtt), codec_names(codecs)
    links = parse_links(bandwidth or SWEEP, rtt=trip, shared=shared) if not trace else ()
    moments = _moments(trace, slow, trip, shared=shared, seed=seed)
    cases: Sequence[Case]
    if original is not None:
        cases = original_cases(
            original, networks=network, devices=device, codecs=names, max_window=max_window, formula=formula
        )
    else:
        cases = [
            own_case(
                model, profile, batch=batch, codecs=names, max_window=max_window,
                labels_private=labels_private, min_front=min_front, two_cuts=not one_cut,
            )
        ]  # fmt: skip
    cases = [slower(case, parse_slowdowns(slow)) for case in cases]
    with screen.progress("simulating") as bar:
        if not trace:
            show_sweeps(screen, [sweep_links(case, links) for case in cases], output)
        else:
            length = Length(epochs, steps)
            replays = [replay(case, moments, length, noise=noise, seed=seed, progress=bar) for case in cases]
            show_replays(screen, replays, length, output)
    return 0


def _problems(  # noqa: PLR0917 - the options of one verb
    model: str,
    profile: Sequence[str],
    original: Path | None,
    trace: str,
    bandwidth: str,
    slow: Sequence[str],
    epochs: int,
    steps: int,
    noise: float,
) -> list[str]:
    """What does not go together, all at once."""
    found = []
    if (original is None) == (not profile):
        found.append(
            "give two --profile files, or --original with a folder" + (", not both" if profile else "")
        )
    if original is not None and model:
        found.append(f"{model!r}: the networks of --original are named with --network")
    if trace and bandwidth:
        found.append("give one of --bandwidth and --trace, not both")
    if not trace and any("@" in text for text in slow):
        found.append("--slow with a time needs a --trace; `edge=4` holds for every bandwidth")
    if not trace and noise:
        found.append("--noise is for a --trace")
    if epochs < 1 or steps < 1 or epochs * steps > MOST_STEPS:
        found.append(f"--epochs {epochs} of --steps {steps}: not 1 to {MOST_STEPS} steps in all")
    if not 0 <= noise <= 2:
        found.append(f"--noise: {noise:g} is not from 0 to 2")
    return found


def _moments(trace: str, slow: Sequence[str], rtt: float, *, shared: bool, seed: int) -> tuple[Moment, ...]:
    """What holds when. Who is slow for good is so in the profile, where the planner knows it."""
    if not trace:
        return ()
    if trace.startswith("made:"):
        rows = made_moments(trace, rtt=rtt, shared=shared, seed=seed)
    else:
        text = read_text(Path(trace), "trace", fix="write rows of seconds,mbit, or name made:step")
        rows = read_moments(text, name=trace, rtt=rtt, shared=shared)
    return slowed(rows, [found for found in parse_slowdowns(slow) if not found.always])
