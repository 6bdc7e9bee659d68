"""A training from its order to its end: data opened, model built, steps watched and written down, the end told.

Rules: what is wrong with data and model is said before the cloud is called and before the run folder is begun; the
session writes every report down, and the view shows it; stopped at any moment, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import BadDocument, UserError
from ..graph import Chain, print_size
from ..train import EpochReport, Event, StepReport, Trace, Tracing, read_trace
from .render import Column, Screen
from .train_board import Board, duration
from .train_options import Order
from .train_view import TrainView, manner_of

if TYPE_CHECKING:
    from ..engine.torch_model import TorchModel
    from ..train import Session
    from ..zoo import DataSet

TRACE, MODEL = "trace.jsonl", "model.safetensors"
# Losses that ask for one answer a class.
_CLASSES = ("cross_entropy", "nll")


@dataclass(frozen=True)
class Material:
    """What is trained on what."""

    model: TorchModel
    data: DataSet
    held_out: DataSet | None

    @property
    def chain(self) -> Chain:
        return self.model.chain


def carry_out(screen: Screen, order: Order, *, quiet: bool) -> int:
    """Train, and tell how it went."""
    material = prepare(order)
    data, held = material.data, material.held_out
    judged = f", {len(held)} held out" if held is not None else ""
    classes = f", {len(data.classes)} classes" if data.classes else ""
    screen.say(f"{len(data)} samples to learn from{judged}{classes}; {len(material.chain)} stages")
    session = _train(screen, order, material, quiet=quiet)
    _tell(screen, order, session)
    return 0


def prepare(order: Order) -> Material:
    """Data and model, each checked against the other."""
    data, held = _data(order)
    model = _model(order, data)
    _check_answers(model.chain, data, order)
    return Material(model, data, held)


def _data(order: Order) -> tuple[DataSet, DataSet | None]:
    from ..zoo import open_data

    learn = order.learn
    asked: dict[str, Any] = {"size": learn.size, "limit": learn.limit, "label": learn.label}
    data = open_data(order.data, **asked)
    if learn.augment:
        from ..zoo import parse_augment

        parse_augment(learn.augment, data.kind)
    if learn.held_out == "none":
        return data, None
    if order.share is not None:
        return data.divided(1 - order.share, seed=learn.seed)
    own = learn.held_out or order.data
    if data.kind == "text":
        asked["vocabulary"] = data.vocabulary
    return data, open_data(own, split="val", **asked)


def _model(order: Order, data: DataSet) -> TorchModel:
    from ..profile import steady_heap, with_threads
    from ..train import example_of
    from ..zoo import build

    steady_heap()
    learn = order.learn
    module = build(order.model, seed=learn.seed, weights=learn.weights, bare=True).module
    module.train()
    if learn.device != "cpu":
        _move(module, learn.device)
    from ..engine.torch_capture import capture_torch

    args, kwargs = example_of(data, module, order.settings)
    model = capture_torch(module, args, kwargs, name=order.model, mode="train")
    if learn.threads is not None:
        with_threads(model, learn.threads)
    return model


def _move(module: Any, device: str) -> None:
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"--device: {device!r} cannot be used: {first}", fix="leave it out for cpu") from None


def _check_answers(chain: Chain, data: DataSet, order: Order) -> None:
    """A model that has fewer answers than the data has classes would fail at the first such sample."""
    if order.settings.loss not in _CLASSES or not data.classes:
        return
    name = "logits" if "logits" in chain.outputs else chain.outputs[0]
    shape = chain.tensors[name].shape
    answers = shape[1] if shape is not None and len(shape) > 1 else None
    if isinstance(answers, int) and answers < len(data.classes):
        raise BadDocument(
            "model",
            [f"{order.model} gives {answers} answers, and {order.data} has {len(data.classes)} classes"],
            fix=f"make it wider, like {order.model}?classes={len(data.classes)} where it takes that",
        )


def _train(screen: Screen, order: Order, material: Material, *, quiet: bool) -> Session:
    """Every step of it."""
    import sys

    learn = order.learn
    steps = -(-len(material.data) // order.settings.batch)
    view = TrainView(
        Board(order.settings.epochs, steps), manner_of(sys.stderr, as_json=screen.as_json, quiet=quiet)
    )
    with ExitStack() as stack:
        stack.enter_context(_stoppable(screen, order))
        stack.enter_context(view)

        def tell(news: Event | EpochReport) -> None:
            view.epoch(news) if isinstance(news, EpochReport) else view.event(news)

        session = stack.enter_context(_session(order, material, tell))
        for report in session.train(material.data, held_out=material.held_out, augment=learn.augment):
            view.step(report)
        session.save(learn.run / MODEL)
    return session


def _session(order: Order, material: Material, tell: Any) -> Session:
    from ..train import Session, energy_of
    from ..zoo import load_function

    learn = order.learn
    return Session(
        material.model,
        loss=load_function(learn.loss) if ":" in learn.loss else learn.loss,
        settings=order.settings,
        cloud=order.cloud,
        token=order.token,
        tls=order.tls,
        plan=order.plan,
        profiles=order.profiles,
        folder=learn.run,
        slow=order.cut.slow,
        threads=learn.threads,
        patience=order.cut.patience,
        meter=energy_of(order.watts),
        on_event=tell,
        trace=Tracing(rate=learn.trace_rate, data=order.data),
    )


@contextmanager
def _stoppable(screen: Screen, order: Order) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        screen.remark(f"stopped; the same command goes on from the last checkpoint in {order.learn.run}")
        raise


def _tell(screen: Screen, order: Order, session: Session) -> None:
    """The end: epochs, plans, where the model lies."""
    folder, epochs = order.learn.run, session.epochs
    history = read_trace(folder / TRACE)
    columns = [
        Column(name, right=True) for name in ("epoch", "loss", "right", "held out", "time", "up", "down")
    ]
    screen.table(
        f"{order.model} after {session.steps} steps on {order.data}", columns, [_row(e) for e in epochs]
    )
    for step, plan in plans_of(history.steps):
        screen.say(f"from step {step}: {plan}")
    if joules := _joules(history):
        screen.say("energy of this device: {joules:.4g} J ({source})".format(**joules))
    screen.say(f"model written to {folder / MODEL}, every step to {folder / TRACE}")
    screen.say(f"more epochs: the same command with a larger --epochs goes on from {folder}")
    screen.result(
        {
            "model": order.model,
            "digest": history.run.digest,
            "steps": session.steps,
            "epochs": [asdict(epoch) for epoch in epochs],
            "plans": [{"from": step, "plan": plan} for step, plan in plans_of(history.steps)],
            "events": [{"what": e.what, "step": e.step, "said": e.said} for e in history.events],
            "energy": joules,
            "weights": str(folder / MODEL),
            "trace": str(folder / TRACE),
        }
    )


def plans_of(steps: tuple[StepReport, ...]) -> list[tuple[int, str]]:
    """The plans in their order, each with the step from which it was in force."""
    found: list[tuple[int, str]] = []
    for step in steps:
        if not found or found[-1][1] != step.plan:
            found.append((step.step, step.plan))
    return found


def _joules(history: Trace) -> dict[str, Any]:
    known = [(step.joules, step.joules_source) for step in history.steps if step.joules is not None]
    return {"joules": sum(joules for joules, _ in known), "source": known[-1][1]} if known else {}


def _row(epoch: EpochReport) -> tuple[str, ...]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.2%}"

    return (
        str(epoch.epoch),
        f"{epoch.loss:.4f}",
        share(epoch.accuracy),
        share(epoch.held_out_accuracy),
        duration(epoch.seconds),
        print_size(epoch.bytes_up),
        print_size(epoch.bytes_down),
    )


__all__ = ["MODEL", "TRACE", "Material", "carry_out", "plans_of", "prepare"]
