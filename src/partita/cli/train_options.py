"""The options of a training, and what they ask for as one order.

Rules: every bad option is reported at once, before anything is read or built; both `edge` and `local` take what is
said about learning, and only `edge` what is said about the cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from cyclopts import Parameter

from ..errors import BadDocument, MissingExtra, UserError
from ..graph import Profile
from ..plan import Plan, parse_plan
from ..train import Feedback, Optimizing, Settings, Watts
from ..wire import Tls, parse_codec
from .access import AccessOptions
from .files import read_noun
from .plan import pairs

_T = TypeVar("_T")
AUTO = "auto"


@Parameter(name="*")
@dataclass(frozen=True)
class LearnOptions:
    """What is learnt, and how.

    Parameters
    ----------
    held_out
        What to judge the model with after each epoch: a reference, a share of the data like 0.1, or none; the data's own
        validation part if not given.
    label
        The column of a table, or the array of an npz, that is to be learnt.
    epochs
        How often to go through the data.
    batch_size
        How many samples a step takes.
    optimizer
        Its name, rate and other numbers, like adamw:0.001,weight_decay=0.01,clip=1.
    schedule
        How the rate changes: constant, cosine, linear, onecycle, step:30,60@0.1; with +warmup:100 behind it.
    loss
        The name of a loss, or a function of the model's answer and the targets, like my.py:loss.
    weights
        A safetensors file to start from; random weights from the seed if not given.
    augment
        Changes of the samples, like crop,flip.
    size
        Height and width of images, values of a sound, words of a text.
    limit
        Take so many samples only.
    seed
        Decides the weights, the order of samples and everything drawn.
    threads
        How many threads; all if not given.
    device
        Where this side computes, like cpu or cuda.
    checkpoint_every
        Steps between two checkpoints; at the ends of epochs if not given.
    run
        The folder of the run: checkpoints, trace.jsonl, model.safetensors. A training that was stopped there goes on.
    no_guard
        Go on when the loss diverges, instead of going back to the last checkpoint with a smaller window.
    watts
        The power of this device busy and waiting, like 5,2, for modelled joules where there is no meter.
    trace_rate
        At most so many step lines a second in the trace; every step if not given.
    """

    held_out: str = ""
    label: str | None = None
    epochs: Annotated[int, Parameter(alias="-n")] = 10
    batch_size: Annotated[int, Parameter(alias="-b")] = 32
    optimizer: str = "sgd:0.05,momentum=0.9"
    schedule: str = "constant"
    loss: str = "cross_entropy"
    weights: Path | None = None
    augment: str = ""
    size: int | None = None
    limit: int | None = None
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"
    checkpoint_every: int | None = None
    run: Annotated[Path, Parameter(alias="-o")] = Path("run")
    no_guard: bool = False
    watts: str = ""
    trace_rate: float | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class CutOptions:
    """How the work is divided.

    Parameters
    ----------
    plan
        Train by this plan and no other: a file that `partita plan --mode train` wrote, or its text form. Without it the
        planner decides, and goes on deciding.
    profile
        A profile of a place, like edge=pi4.json; measured when the training begins for a place without one.
    labels_private
        Keep the loss, and so the labels, here. See docs/training.md for what that does not hide.
    private_front
        Keep at least so many first stages here; those up to the first with weights stay unless inputs are public.
    window
        How many steps may be under way besides the oldest: auto, a number, or numbers by epoch like 0,2@3.
    max_window
        The largest window that may be chosen.
    codec_up
        How tensors travel to the cloud: auto, or the name of a codec.
    codec_down
        How tensors travel from the cloud: auto, or the name of a codec.
    max_error
        The largest relative error that a codec may make.
    feedback
        What is done about what codecs lose going up: nothing, a memory at the sender (residual) or at both ends
        (delta), or the correction of the original (taylor).
    feedback_down
        The same for what comes down.
    eager
        Use what arrives at once: a little faster, and no longer the same weights each time.
    calm
        Divide the rate by K + 1 where gradients are stale.
    slow
        Pretend that this device is slower by this factor.
    patience
        For how many seconds a cloud that is lost is waited for.
    """

    plan: Annotated[str | None, Parameter(alias="-p")] = None
    profile: tuple[str, ...] = field(default=())
    labels_private: bool = False
    private_front: int = 0
    window: str = AUTO
    max_window: int = 4
    codec_up: str = AUTO
    codec_down: str = AUTO
    max_error: float | None = None
    feedback: Feedback = "none"
    feedback_down: Feedback = "none"
    eager: bool = False
    calm: bool = False
    slow: float = 1.0
    patience: float = 600.0


@dataclass(frozen=True)
class Order:
    """A training, checked as far as that goes without reading data or building a model."""

    model: str
    data: str
    learn: LearnOptions
    cut: CutOptions
    settings: Settings
    cloud: str | None = None
    token: str | None = None
    tls: Tls | None = None
    plan: Plan | None = None
    profiles: dict[str, Profile] = field(default_factory=dict)
    watts: Watts | None = None

    @property
    def share(self) -> float | None:
        """The share of the data to hold out, where one was given."""
        return _number(self.learn.held_out)


class Findings:
    """What is wrong with the options so far."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._errors: list[UserError] = []

    def read(self, make: Callable[[], _T], instead: _T) -> _T:
        """What `make` gives; where it refuses, that is kept and the work goes on with something else."""
        try:
            return make()
        except MissingExtra:
            raise
        except UserError as error:
            self._errors.append(error)
            return instead

    def expect(self, fine: bool, problem: str, fix: str) -> None:
        """Keep a problem where something is not fine."""
        if not fine:
            self._errors.append(BadDocument(self._verb, [problem], fix=fix))

    def settle(self) -> None:
        """Refuse, if anything was found: all of it at once."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            own = f"{self._verb}: "
            problems = [error.problem.removeprefix(own) for error in self._errors]
            fixes = dict.fromkeys(error.fix for error in self._errors)
            raise BadDocument(self._verb, problems, fix="; ".join(fixes))


def order_of(
    model: str,
    data: str,
    learn: LearnOptions,
    cut: CutOptions | None = None,
    cloud: str | None = None,
    access: AccessOptions | None = None,
) -> Order:
    """The options as an order; without `cut` everything stays here."""
    findings = Findings("train local" if cut is None else "train edge")
    wanted = cut or CutOptions()
    _check_numbers(findings, learn, wanted)
    settings = _settings(findings, learn, wanted)
    order = Order(model, data, learn, wanted, settings)
    if learn.watts:
        order = replace(order, watts=findings.read(lambda: _watts(learn.watts), None))
    if cloud is not None and access is not None:
        findings.expect(
            _is_address(cloud), f"--cloud: {cloud!r} is no address", "write it like wss://host:7700"
        )
        order = replace(
            order,
            cloud=cloud,
            token=findings.read(access.token, None),
            tls=access.tls(),
            plan=findings.read(lambda: _plan(wanted, settings), None),
            profiles=findings.read(lambda: _profiles(wanted.profile), {}),
        )
    findings.settle()
    return order


def _check_numbers(findings: Findings, learn: LearnOptions, cut: CutOptions) -> None:
    positive = "give a number above 0, or leave it out"
    for name, value in (
        ("--threads", learn.threads),
        ("--limit", learn.limit),
        ("--size", learn.size),
        ("--checkpoint-every", learn.checkpoint_every),
        ("--trace-rate", learn.trace_rate),
        ("--max-error", cut.max_error),
    ):
        findings.expect(
            value is None or 0 < value < inf, f"{name}: {value!r} is not a positive number", positive
        )
    findings.expect(1 <= cut.slow < inf, f"--slow: {cut.slow!r} is not 1 or more", "write it like --slow 8")
    findings.expect(
        0 <= cut.patience < inf, f"--patience: {cut.patience!r} is no number of seconds", "give 0 or more"
    )
    share = _number(learn.held_out)
    findings.expect(
        share is None or 0 < share < 1,
        f"--held-out: {learn.held_out} is not between 0 and 1",
        "give a share like 0.1, a reference, or none",
    )
    for place in (learn.run, *learn.run.parents):
        findings.expect(
            place.is_dir() or not place.exists(),
            f"--run: {place} is a file, not a folder",
            "name a folder for the run",
        )


def _settings(findings: Findings, learn: LearnOptions, cut: CutOptions) -> Settings:
    from ..train import parse_optimizing, parse_schedule

    for name, codec in (("--codec-up", cut.codec_up), ("--codec-down", cut.codec_down)):
        if codec != AUTO:
            findings.read(lambda name=name, codec=codec: _codec(name, codec), None)  # type: ignore[misc]
    findings.read(lambda: parse_schedule(learn.schedule), None)
    _check_loss(findings, learn.loss)
    optimizer = findings.read(lambda: parse_optimizing(learn.optimizer), Optimizing())
    return findings.read(
        lambda: Settings(
            epochs=learn.epochs,
            batch=learn.batch_size,
            seed=learn.seed,
            loss="" if ":" in learn.loss else learn.loss,
            optimizer=optimizer,
            schedule=learn.schedule,
            window=cut.window,
            max_window=cut.max_window,
            codec_up=cut.codec_up,
            codec_down=cut.codec_down,
            max_error=cut.max_error,
            feedback=cut.feedback,
            feedback_down=cut.feedback_down,
            order="eager" if cut.eager else "fixed",
            calm=cut.calm,
            labels_private=cut.labels_private,
            min_front=cut.private_front,
            checkpoint=learn.checkpoint_every or 0,
            guard=not learn.no_guard,
        ),
        Settings(),
    )


def _check_loss(findings: Findings, loss: str) -> None:
    from difflib import get_close_matches

    from ..train import LOSSES

    near = get_close_matches(loss, LOSSES, n=3) or list(LOSSES)
    findings.expect(
        ":" in loss or loss in LOSSES,
        f"--loss: there is no loss {loss!r}",
        f"write {', '.join(near)}, or a function like my.py:loss",
    )


def _codec(option: str, name: str) -> None:
    try:
        parse_codec(name)
    except UserError as error:
        raise BadDocument(option, [error.problem], fix=error.fix) from None


def _watts(text: str) -> Watts | None:
    from ..train import parse_watts

    return parse_watts(text)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "mem" or (
            parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
        )
    except ValueError:  # a port that is no number
        return False


def _plan(cut: CutOptions, settings: Settings) -> Plan | None:
    if cut.plan is None:
        return None
    if "[" not in cut.plan or Path(cut.plan).is_file():
        fix = "write one with `partita plan MODEL --mode train -o plan.json`, or give its text form"
        found = read_noun(Plan, Path(cut.plan), fix=fix)
    else:
        found = parse_plan(cut.plan)
    from ..train import check_private

    check_private(found, settings)
    return found


def _profiles(texts: tuple[str, ...]) -> dict[str, Profile]:
    fix = "write one: partita profile MODEL --backward -o profile.json"
    files = pairs(texts, "--profile", "edge=pi4.json")
    return {place: read_noun(Profile, Path(name), fix=fix) for place, name in files.items()}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
