"""How a training begins: the model as a chain, the cloud told of it, both ends and the link between them measured.

Rules: the module is captured in train mode from the first batch; what the cloud lacks it gets as data; measuring
leaves the module's buffers and the caller's random numbers as they were, and is done once for a run.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ..engine.torch_capture import capture_torch
from ..engine.torch_model import TorchModel
from ..engine.torch_portable import pack_torch
from ..graph import Profile, dump, load
from ..plan import DEFAULT_CODECS
from ..profile import Effort, measure, measure_codecs, with_threads
from ..run import Reply
from ..store import write_whole
from ..wire import Tls, decode, encode
from .belonging import belonging_profiles
from .checkpoints import Checkpoints
from .line import Line, WireLine, ask
from .loading import example_of
from .messages import Begin, Begun, Measure, Measured, Model
from .moving import MESSAGE_BYTES, expect
from .pair import Dial
from .settings import AUTO, Optimizing, Settings
from .updating import with_updates

# A second or two for a network of an edge device: more would be felt, less is noise.
EFFORT = Effort(seconds=0.2, budget=8.0)


@dataclass
class Opening:
    """What a session was given, and what it opens with that."""

    settings: Settings
    cloud: str | Callable[[], Line] | None
    token: str | None
    tls: Tls | None
    profiles: dict[str, Profile]
    folder: Path | None
    threads: int | None
    _checkpoints: Checkpoints | None = field(default=None, init=False)

    def captured(self, model: torch.nn.Module | TorchModel, data: object) -> TorchModel:
        """The model as a chain in train mode; a module is captured with the inputs of the first batch."""
        if isinstance(model, TorchModel):
            model.set_mode("train")
        else:
            args, kwargs = example_of(data, model)
            model = capture_torch(model, args, kwargs, mode="train")
        if self.threads is not None:
            with_threads(model, self.threads)
        return model

    def checkpoints(self) -> Checkpoints | None:
        """The run's checkpoints, if it has a folder."""
        if self.folder is not None and self._checkpoints is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._checkpoints = Checkpoints(self.folder / "checkpoints")
        return self._checkpoints

    def close(self) -> None:
        """Let go of the run's folder."""
        if self._checkpoints is not None:
            self._checkpoints.close()
            self._checkpoints = None

    def dial(self, model: TorchModel, loss: bytes | None) -> Dial:
        """How the cloud is called and told of this run, each time anew."""
        cloud, run = self.cloud or "", run_id(self.folder)
        # Now, before anything is trained: later calls may come from another thread than the training's.
        pieces = {"model": pack_torch(model)} | ({} if loss is None else {"loss": loss})

        def call() -> tuple[Line, Begun]:
            line = cloud() if callable(cloud) else WireLine(cloud, token=self.token, tls=self.tls)
            try:
                return line, greet(line, run, model, self.settings, pieces)
            except BaseException:
                line.close()
                raise

        return call

    def measured(self, model: TorchModel, line: Line, slow: float) -> dict[str, Profile]:
        """The profiles of both sides: given, kept from an earlier start of this run, or measured now."""
        codecs, batch = codecs_of(self.settings), self.settings.batch
        found = belonging_profiles(self.profiles, model)
        kept = {place: self._kept(model, place) for place in ("edge", "cloud") if place not in found}
        found |= {place: profile for place, profile in kept.items() if profile is not None}
        # The cloud measures while this side does.
        there = None if "cloud" in found else line.post(Measure(line.number(), batch, codecs))
        if there is not None and slow > 1:
            # A slower device is pretended, so the cloud is likely this machine too: one after the other.
            found["cloud"], there = read_profile(there.result()), None
        if "edge" not in found:
            found["edge"] = profile_here(
                model, batch, codecs, self.settings.optimizer, slow=slow, threads=self.threads
            )
        if there is not None:
            found["cloud"] = read_profile(there.result())
        for place, profile in found.items():
            self._keep(model, place, profile)
        return found

    def _file(self, model: TorchModel, place: str) -> Path | None:
        if self.folder is None:
            return None
        key = hashlib.sha256(
            f"{model.chain.digest} {self.settings.batch} {self.settings.optimizer}".encode()
        ).hexdigest()[:12]
        return self.folder / f"profile-{place}-{key}.json"

    def _kept(self, model: TorchModel, place: str) -> Profile | None:
        file = self._file(model, place)
        return load(Profile, file.read_text(), name=str(file)) if file and file.exists() else None

    def _keep(self, model: TorchModel, place: str, profile: Profile) -> None:
        file = self._file(model, place)
        if file is not None and not file.exists():
            # Whole or not at all: half a profile would stand in the way of every later start.
            write_whole(file, iter([dump(profile).encode()]))


def private_front(model: TorchModel) -> int:
    """How many first stages to keep so that no input leaves as it is: up to the first one that has weights, and on
    to the last one that reads an input, or what was made of its numbers alone. Skips carry that far."""
    chain = model.chain
    raw, first, last = set(chain.inputs), 0, 0
    for position, stage in enumerate(chain.stages, 1):
        weighty = any(isinstance(model.book[name], torch.nn.Parameter) for name in stage.params)
        first = first or (position if weighty else 0)
        read = raw.intersection(stage.inputs)
        last = position if read else last
        bare = not weighty and raw.issuperset(stage.inputs)
        if bare and any(chain.tensors[name].dtype.is_float for name in read):
            raw.update(stage.outputs)
    return max(first, last, 1)


def run_id(folder: Path | None) -> str:
    """The secret name of the run: kept in its folder, so that whoever has the folder can go on with it."""
    if folder is None:
        return secrets.token_hex(16)
    file = folder / "run-id"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / ".run-id"
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(secrets.token_hex(16))
        beside.replace(file)
    return file.read_text().strip()


def greet(line: Line, run: str, model: TorchModel, settings: Settings, pieces: Mapping[str, bytes]) -> Begun:
    """Tell the cloud of the run, of the model where it does not know it, and of the loss if that is one of the pieces."""
    message = Begin(line.number(), run, model.chain.name, model.chain.digest, dump(settings, indent=None))
    begun = expect(ask(line, message).message, Begun)
    chunks = [
        (name, data[at : at + MESSAGE_BYTES])
        for name, data in pieces.items()
        if name != "model" or not begun.known
        for at in range(0, len(data), MESSAGE_BYTES)
    ]
    for number, (name, chunk) in enumerate(chunks, 1):
        piece = Model(line.number(), number == len(chunks))
        answer = ask(line, piece, {name: encode(np.frombuffer(chunk, np.uint8))})
        if number == len(chunks):
            begun = expect(answer.message, Begun)
    return begun


def codecs_of(settings: Settings) -> tuple[str, ...]:
    """The codecs that plans may use."""
    asked = [name for name in (settings.codec_up, settings.codec_down) if name != AUTO]
    return tuple(dict.fromkeys((*DEFAULT_CODECS, *asked)))


def efforts(slow: float) -> tuple[Effort, Effort]:
    """How much to measure of stages and of codecs. A device that is pretended stretches the least that work takes."""
    quantile = 0.0 if slow > 1 else EFFORT.quantile
    return replace(EFFORT, quantile=quantile), Effort(seconds=0.1, budget=5.0, quantile=quantile)


def profile_here(
    model: TorchModel,
    batch: int,
    codecs: Sequence[str],
    optimizing: Optimizing,
    *,
    slow: float,
    threads: int | None,
) -> Profile:
    """What the model costs on this device, in training."""
    before = {name: tensor.clone() for name, tensor in model.book.persistent().items()}
    effort, codec_effort = efforts(slow)
    with torch.random.fork_rng():
        found = measure(model, batches=(batch,), effort=effort, threads=threads, backward=True)
        found = with_updates(found, model, optimizing, quantile=effort.quantile)
    model.book.load(before, "the state before the measurement")
    found = replace(found, codecs=measure_codecs(codecs, effort=codec_effort))
    return found.slowed(slow) if slow > 1 else found


def read_profile(reply: Reply) -> Profile:
    """The profile in the cloud's answer."""
    expect(reply.message, Measured)
    text = decode(reply.tensors["profile"]).tobytes().decode()
    return load(Profile, text, name="of the cloud")
