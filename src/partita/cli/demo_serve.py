"""The act of `serve` in the demo: a small network with exits, trained, divided, measured, and put under three times its load."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ..serve import (
    Burst,
    ExitModel,
    ExitProfile,
    Measuring,
    SchedulerSettings,
    Stream,
    TrainSpec,
    TruthTable,
    bounded,
    collect,
    draw,
    evidence_of_truth,
    examine,
    export,
    parse_policy,
    profile_model,
    save_profile,
    scheduler_for,
    simulate,
    train,
)
from ..zoo import open_data
from .render import Screen, milliseconds
from .serve_decide import show_simulation
from .serve_model import TRUTH, held_out, show_profile

DATA = "made:shapes"
SAMPLES, HELD_OUT, EPOCHS = 1500, 1000, 5
# Deadlines in times of the whole network, as the loads are in shares of what it could serve.
DEADLINES = (8.0, 16.0)
LOAD, BURST, SECONDS = 1.0, 3.0, 3.0


@dataclass(frozen=True)
class Served:
    """What the act showed, and whether what must hold did."""

    claims: list[tuple[str, str, str]]
    in_time: float
    accuracy: float
    equal: bool


def act(screen: Screen) -> Served:
    """Train, export, profile, calibrate, simulate."""
    screen.say(
        f"\n== Serve: a network with four exits, trained here on {DATA}, under a burst of {BURST:g} times its load"
    )
    with tempfile.TemporaryDirectory(prefix="partita-demo-") as scratch:
        run, folder = Path(scratch) / "run", Path(scratch) / "model"
        spec = TrainSpec(
            model="early-cnn", dataset=DATA, epochs=EPOCHS, batch_size=64, learning_rate=2e-3, one_cycle=True
        )
        samples = open_data(DATA, split="train", limit=SAMPLES)
        done = train(spec, samples, open_data(DATA, split="val", limit=HELD_OUT), folder=run)
        screen.say(f"trained on {done.run.trained_on} samples in {done.run.seconds:.0f} s")
        manifest = export(run, folder)
        model = ExitModel.open(folder)
        inputs, labels = held_out(DATA, "test", None, HELD_OUT)
        truth = collect(model, inputs, labels)
        profile = profile_model(
            model, batches=(1, 2, 4, 8), measuring=Measuring(runs=100, seconds=6.0), truth=truth
        )
        save_profile(folder, profile)
        truth.save(folder / TRUTH)
    show_profile(screen, profile)
    table = TruthTable(truth.confidence.astype(float), truth.correct)
    evidence = evidence_of_truth(
        {"confidence": truth.confidence, "correct": truth.correct, "labels": truth.labels}
    )
    found = examine(evidence, digest=model.digest)
    whole = _seconds(profile)
    rate = LOAD / whole
    policy = parse_policy({"version": 1}, profile=profile)
    bursts = (Burst(SECONDS / 3, SECONDS / 3, BURST),)
    stream = Stream(rate, deadlines=tuple(times * whole for times in DEADLINES), bursts=bursts)
    arrivals = bounded(draw([stream], SECONDS), policy, profile)
    scheduler = scheduler_for(profile, policy, found.calibration, settings=SchedulerSettings())
    report = simulate(scheduler, arrivals, profile, table)
    show_simulation(screen, replace(profile, device="here"), report)
    tally = report.whole
    in_time, right = tally.in_time or 0.0, tally.accuracy or 0.0
    full = profile.exits[-1].accuracy or 0.0
    parity = "0, bit for bit" if manifest.parity.chain == 0 else f"{manifest.parity.chain:.2g}"
    return Served(
        claims=[
            (f"serve, simulated: {len(arrivals)} requests, a burst of {BURST:g}x in the middle, in time", f"{in_time:.2%}", ""),
            ("  right answers, beside all run to the end", f"{right:.2%}", f"{full:.2%}"),
            ("  chain of subnetworks against the whole, every exit", parity, "0"),
            ("  one sample to the end", milliseconds(whole), ""),
        ],
        in_time=in_time,
        accuracy=right,
        equal=manifest.parity.chain == 0,
    )  # fmt: skip


def _seconds(profile: ExitProfile) -> float:
    """One sample to the end, as one span."""
    span = profile.span(0, len(profile.exits) - 1)
    return span.seconds(1) if span is not None else sum(stage.seconds(1) for stage in profile.stages)
