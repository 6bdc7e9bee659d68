"""Joint training of a network with exits: all of them learn from every sample.

Rules: the same specification, data and number of threads give the same weights bit for bit on a CPU, stopped and resumed
or not; held-out samples choose nothing, so what they say of the network is honest; the caller's random numbers and
threads stay as they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from ..errors import BadDocument, MissingExtra, PartFailed
from ..graph import dump
from .exits import MultiExit
from .exits_cut import CutStage
from .exits_flops import flops
from .exits_pretrained import load_pretrained
from .train_checkpoint import Standing, load_checkpoint, save_checkpoint
from .train_loss import joint_loss, learning_rate, make_optimizer
from .train_run import SPEC, TRACE, build_for, read_run, write_results, write_run, write_table
from .train_spec import Progress, Run, RunResult, TrainSpec
from .train_truth import Samples, Truth, interval, tell_truth, to_tensors

Watch = Callable[[Progress], None]


def train(  # noqa: PLR0913  # the public door: all but three have defaults
    spec: TrainSpec,
    data: Samples,
    held_out: Samples,
    *,
    folder: Path | str,
    model: MultiExit | None = None,
    progress: Watch | None = None,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_every: int = 0,
) -> RunResult:
    """Train into a run folder; a training that was stopped there goes on.

    `model` replaces the network that the specification names. A checkpoint is written after every epoch, and after
    every `checkpoint_every` steps where that is given. Raise from `progress` to stop.
    """
    place = Path(folder)
    with _settled(spec.seed, threads):
        network = _network(spec, data, held_out, model)
        told = str(load_pretrained(network, spec.pretrained)) if spec.pretrained else ""
        run = replace(_begin(spec, network, data, held_out, device), pretrained=told)
        _augment(spec, data)  # what cannot be done is refused before a folder is claimed for it
        _claim(place, run)
        trainer = _Trainer(
            spec=spec,
            model=network,
            data=data,
            held_out=held_out,
            folder=place,
            key=_key(run),
            progress=progress,
            every=checkpoint_every,
            device=device,
        )
        standing = trainer.through()
        truth = tell_truth(network, held_out, spec.batch_size, spec.eval_fn)
    done = _finished(run, truth, standing)
    write_results(place, done, network, truth, standing.trace)
    return RunResult(place, done, standing.trace)


class _Trainer:
    """One training, from where it stands to its end."""

    def __init__(  # noqa: PLR0913  # what train was given
        self,
        *,
        spec: TrainSpec,
        model: MultiExit,
        data: Samples,
        held_out: Samples,
        folder: Path,
        key: str,
        progress: Watch | None,
        every: int,
        device: str,
    ) -> None:
        self._spec, self._data, self._held_out, self._folder = spec, data, held_out, folder
        self._key, self._progress, self._every = key, progress, every
        self._steps = -(-len(data) // spec.batch_size)
        self._weights = spec.exit_weights(model.names)
        self._augment = _augment(spec, data)
        self._model = _placed(model, device)
        self._optimizer = make_optimizer(spec, model.parameters())
        found = load_checkpoint(folder / "checkpoint", model, self._optimizer, key)
        self._standing = found or Standing(right=(0,) * len(model.names))

    def through(self) -> Standing:
        """Train to the last epoch."""
        while self._standing.epoch < self._spec.epochs:
            self._epoch()
        return self._standing

    def _epoch(self) -> None:
        spec, at = self._spec, self._standing
        self._model.train()
        begun = perf_counter() - at.seconds
        batches = self._data.batches(
            spec.batch_size, seed=spec.seed, epoch=at.epoch, step=at.step, shuffle=True, augment=self._augment
        )
        rate = spec.learning_rate
        for step, (inputs, labels) in enumerate(batches, at.step):
            rate = learning_rate(spec, at.epoch * self._steps + step, spec.epochs * self._steps)
            at = self._step(at, inputs, labels, rate)
            at = replace(at, step=step + 1, seconds=perf_counter() - begun)
            if self._every and at.step % self._every == 0 and at.step < self._steps:
                self._save(at)
            self._tell(at, rate)
        self._end_epoch(at, rate, begun)

    def _end_epoch(self, at: Standing, rate: float, begun: float) -> None:
        """Ask the held-out samples, and begin the next epoch."""
        model, spec = self._model, self._spec
        truth = tell_truth(model, self._held_out, spec.batch_size, spec.eval_fn)
        seconds = perf_counter() - begun
        row = {
            "epoch": at.epoch + 1,
            "loss": at.loss / max(1, at.seen),
            "learning_rate": rate,
            "seconds": seconds,
        }
        row |= {
            f"train_accuracy_{n}": r / max(1, at.seen) for n, r in zip(model.names, at.right, strict=True)
        }
        row |= {f"accuracy_{n}": a for n, a in zip(model.names, truth.accuracy, strict=True)}
        trace = (*at.trace, row)
        self._save(Standing(at.epoch + 1, right=(0,) * len(model.names), seconds=seconds, trace=trace))
        write_table(self._folder / TRACE, trace)
        self._tell(at, rate, truth.accuracy)

    def _step(self, at: Standing, inputs: Any, labels: Any, rate: float) -> Standing:
        """Learn from one batch."""
        found = torch.from_numpy(np.ascontiguousarray(labels)).to(next(self._model.parameters()).device)
        if len(found) < 2:
            return at  # a batch norm cannot learn from one sample
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        logits = self._model(*to_tensors(inputs, self._model))
        loss = joint_loss(self._spec, self._weights, logits, found)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise PartFailed(
                f"the loss became {value} in epoch {at.epoch + 1} at a learning rate of {rate:.3g}",
                fix="train with a smaller learning rate, in another folder",
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        self._optimizer.step()
        right = _right(self._spec, logits, found)
        return replace(
            at,
            loss=at.loss + value * len(found),
            seen=at.seen + len(found),
            right=tuple(a + b for a, b in zip(at.right, right, strict=True)),
        )

    def _save(self, at: Standing) -> None:
        save_checkpoint(self._folder / "checkpoint", self._model, self._optimizer, at, self._key)
        self._standing = at

    def _tell(self, at: Standing, rate: float, accuracy: tuple[float, ...] = ()) -> None:
        if self._progress is not None:
            loss = at.loss / max(1, at.seen)
            place = (at.epoch + 1, self._spec.epochs, at.step, self._steps)
            self._progress(Progress(*place, loss, rate, at.seconds, accuracy))


@contextmanager
def _settled(seed: int, threads: int | None) -> Iterator[None]:
    """Random numbers from the seed, and so many threads, for a while."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def _network(spec: TrainSpec, data: Samples, held_out: Samples, given: MultiExit | None) -> MultiExit:
    problems = []
    if not len(data):
        problems.append("there are no samples to train on")
    if tuple(data.classes) != tuple(held_out.classes):
        problems.append("the held-out samples have other classes than the training samples")
    if tuple(data.shape) != tuple(held_out.shape):
        problems.append(f"held-out samples are {tuple(held_out.shape)}, training samples {tuple(data.shape)}")
    kind = getattr(data, "kind", "")
    if spec.input_type and kind and spec.input_type != kind:
        problems.append(f"input_type: {spec.input_type} was asked for, and the samples are {kind}")
    network = given or build_for(spec, len(data.classes), data.shape, _vocabulary(data))
    if network.classes != len(data.classes):
        problems.append(f"the network knows {network.classes} classes, the data has {len(data.classes)}")
    if problems:
        raise BadDocument("training data", problems, fix="give data and network that belong together")
    spec.exit_weights(network.names)
    return network


def _begin(spec: TrainSpec, model: MultiExit, data: Samples, held_out: Samples, device: str) -> Run:
    return Run(
        spec,
        model.names,
        tuple(data.classes),
        model.kind,
        tuple(data.shape),
        tuple(float(value) for value in flops(model).cumulative),
        samples=len(held_out),
        trained_on=len(data),
        vocabulary=_vocabulary(data),
        data_digest=f"{getattr(data, 'digest', '')} {getattr(held_out, 'digest', '')}".strip(),
        device=f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    )


def _claim(folder: Path, run: Run) -> None:
    """Make the folder this training's own: another one's results are not written over."""
    if (folder / SPEC).is_file():
        there = read_run(folder)
        if _key(there) != _key(run):
            raise BadDocument(
                f"run folder {folder}",
                [f"holds the training of {there.spec.model!r} with other arguments or other data"],
                fix="train into another folder, or remove this one",
            )
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SPEC).is_file():
        write_run(folder, run)


def _key(run: Run) -> str:
    """What the weights depend on: the same for a training and its resumption, on whatever threads."""
    told = Run(run.spec, run.exits, run.classes, run.kind, run.shape, run.flops, data_digest=run.data_digest)
    return hashlib.sha256(dump(told, indent=None).encode()).hexdigest()


def _finished(run: Run, truth: Truth, standing: Standing) -> Run:
    ends = [interval(share, len(truth.labels)) for share in truth.accuracy]
    return replace(
        run,
        finished=True,
        accuracy=truth.accuracy,
        accuracy_low=tuple(low for low, _ in ends),
        accuracy_high=tuple(high for _, high in ends),
        loss=truth.loss,
        samples=len(truth.labels),
        seconds=standing.seconds,
    )


def _right(spec: TrainSpec, logits: tuple[torch.Tensor, ...], labels: torch.Tensor) -> tuple[int, ...]:
    """How many each exit answered rightly, the way it is evaluated."""
    rows = torch.stack([row.detach() for row in logits])
    if spec.eval_fn == "residual":
        rows = rows.cumsum(0)
    wanted = labels if labels.ndim == 1 else labels.argmax(1)
    return tuple((rows.argmax(2) == wanted).sum(1).tolist())


def _placed(model: MultiExit, device: str) -> MultiExit:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MissingExtra("CUDA", extra="torch", purpose=f"training on {device!r}")
    model.to(device)
    if model.kind == "image" and not any(isinstance(module, CutStage) for module in model.modules()):
        # Convolutions on a CPU are a seventh faster when the channels of a point lie beside each other.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types one form only
    return model


def _augment(spec: TrainSpec, data: Samples) -> Any:
    if not spec.augment:
        return None
    from ..zoo import parse_augment

    return parse_augment(spec.augment, getattr(data, "kind", "image"))


def _vocabulary(data: Samples) -> int:
    if getattr(data, "kind", "") != "text":
        return 0
    words = getattr(data, "vocabulary", ())
    return len(words) if hasattr(words, "__len__") else 0
