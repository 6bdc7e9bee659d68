"""One visitor's side of the cloud: messages in, answers out. No I/O but its checkpoints.

    Begin, Model -> the run is known -> Prepare, Give, Commit | Recall -> a plan is in force -> Step, Slope, Examine, Save

Rules: every message has one answer, `Failed` where the work could not be done, and the room lives on; a visitor brings
data, never code; a plan takes the place of another at Commit and not before; what a visitor holds is its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Final, final

import numpy as np

from ..errors import BadDocument, LimitExceeded, NotFound, PartFailed, PartitaError, ProtocolViolation
from ..graph import dump, load
from ..plan import Plan
from ..run import Pace, state_digest
from ..wire import Encoded, Failed, Message, Result, decode, encode
from . import messages as said
from .checkpoints import Checkpoints
from .room_limits import MemoryWatch, RoomLimits, exceeded
from .room_model import RoomModel
from .room_plan import Data
from .settings import Settings

Answer = tuple[Message, Mapping[str, Encoded]]
Tensors = Mapping[str, Encoded]
# Hexadecimal digits of 128 bits to 256: such a name is not guessed.
_RUN: Final = re.compile(r"[0-9a-f]{32,64}\Z")
_KEPT_CHECKPOINTS: Final = 3
# What a server short of memory does not begin; what frees memory or brings work home goes on.
_NEW_WORK: Final = (
    said.Begin, said.Model, said.Measure, said.Prepare, said.Give, said.Step, said.Examine, said.Recall
)  # fmt: skip


def run_key(run: str) -> str:
    """The public name of a run: the run itself is a secret, and stands in no path and no log."""
    if not _RUN.match(run):
        raise BadDocument(
            "run", ["it is not 32 to 64 hexadecimal digits"], fix="draw it with secrets.token_hex(16)"
        )
    return hashlib.sha256(run.encode()).hexdigest()


@dataclass(frozen=True)
class House:
    """What all rooms of a cloud share: models on offer by digest, data, the folder of checkpoints, limits."""

    state: Path
    offers: Mapping[str, bytes] = field(default_factory=dict)
    data: Data | None = None
    limits: RoomLimits = field(default_factory=RoomLimits)
    slow: float = 1.0
    device: str = "cpu"
    capacity: int = 1 << 20


@dataclass
class _Run:
    """A run that was begun: what came of its model so far, and then the model."""

    key: str
    begin: said.Begin
    settings: Settings
    checkpoints: Checkpoints
    pieces: dict[str, bytearray]
    model: RoomModel | None = None


@final
class Room:
    """What one visitor can do here."""

    def __init__(self, house: House, watch: MemoryWatch | None = None) -> None:
        self._house = house
        self._watch = watch or MemoryWatch(house.limits.memory)
        self._pace = Pace(house.slow)
        self._run: _Run | None = None
        self._over = ""

    @property
    def key(self) -> str:
        """The public name of the run, empty before one was begun."""
        return self._run.key if self._run is not None else ""

    @property
    def plan(self) -> Plan | None:
        """The plan in force."""
        model = self._run.model if self._run is not None else None
        return model.force.plan if model is not None and model.force is not None else None

    def end(self, why: str) -> None:
        """Let go of everything; whatever is asked from here on is refused for this reason."""
        run, self._run, self._over = self._run, None, why
        if run is not None:
            empty = not run.checkpoints.steps()
            run.checkpoints.close()
            if empty:
                rmtree(run.checkpoints.folder, ignore_errors=True)

    def answer(self, message: Message, tensors: Tensors) -> Answer:
        """The answer to a message: always one."""
        request = getattr(message, "request", 0)
        try:
            self._check(message)
            return self._work(message, tensors)
        except PartitaError as error:
            return Failed(request, error.code, error.problem[:8000], error.fix[:8000]), {}
        except Exception as error:
            failed = PartFailed(
                f"{type(error).__name__}: {error}", fix="train with `partita train local` to compare"
            )
            return Failed(request, failed.code, failed.problem[:8000], failed.fix), {}

    def _check(self, message: Message) -> None:
        if self._over:
            raise ProtocolViolation(self._over, fix="open a new connection and begin the run there")
        if isinstance(message, _NEW_WORK):
            self._watch.check()

    def _work(self, message: Message, tensors: Tensors) -> Answer:
        match message:
            case said.Begin():
                return self._begin(message), {}
            case said.Model():
                return self._piece(message, tensors), {}
            case said.Measure():
                profile = self._model.measured(message.batch, message.codecs, self._house.slow)
                data = np.frombuffer(dump(profile, indent=None).encode(), np.uint8)
                return said.Measured(message.request), {"profile": encode(data)}
            case said.Step() | said.Slope() | said.Examine():
                return self._train(message, tensors)
            case said.Save():
                return self._save(message), {}
            case said.Recall():
                return self._recall(message), {}
            case _:
                return self._change(message, tensors)

    # -- a run begins ------------------------------------------------------------------------------------------------

    def _begin(self, message: said.Begin) -> Message:
        if self._run is not None:
            raise ProtocolViolation(
                "this connection has begun a run already", fix="open a connection for each run"
            )
        key = run_key(message.run)
        settings = load(Settings, message.settings)
        offered = self._house.offers.get(message.digest)
        model = self._made(message, settings, offered) if offered is not None else None
        # Last, because it holds the folder until the room ends.
        self._run = _Run(key, message, settings, self._checkpoints(key), {}, model)
        return self._begun(message.request)

    def _checkpoints(self, key: str) -> Checkpoints:
        state, most = self._house.state, self._house.limits.runs
        if not (state / key).exists() and state.exists() and sum(1 for _ in state.iterdir()) >= most:
            raise LimitExceeded(
                f"{most} runs have checkpoints here, which is the limit",
                fix="delete the folders of runs that are over, or raise `runs` of the limits",
            )
        return Checkpoints(self._house.state / key, keep=_KEPT_CHECKPOINTS)

    def _made(self, begin: said.Begin, settings: Settings, data: bytes) -> RoomModel:
        house = self._house
        model = RoomModel.read(data, settings, house.limits, device=house.device)
        model.check(begin.model, begin.digest)
        model.serve(house.data, self._pace, house.capacity)
        return model

    def _begun(self, request: int) -> Message:
        run = self._begun_run
        steps = tuple(run.checkpoints.steps())
        return said.Begun(request, run.model is not None, steps, self._house.device)

    def _piece(self, message: said.Model, tensors: Tensors) -> Message:
        """A piece of the model or of the loss; with the last one they are read."""
        run = self._begun_run
        strange = sorted(set(tensors) - {"model", "loss"})
        wrong = [f"{n}: is no tensor of bytes" for n, t in tensors.items() if t.head.dtype != "uint8"]
        if strange or wrong:
            problems = [f"{name[:200]}: is no piece of a model" for name in strange] + wrong
            raise BadDocument("model", problems, fix="send `model` and `loss` as bytes")
        most = self._house.limits.model
        held = sum(map(len, run.pieces.values()))
        arriving = sum(int(np.prod(tensor.head.shape, dtype=object)) for tensor in tensors.values())
        if held + arriving > most:
            run.pieces.clear()
            raise exceeded("the model as data", held + arriving, most, "model")
        for name, tensor in tensors.items():
            run.pieces.setdefault(name, bytearray()).extend(decode(tensor, limit=most).tobytes())
        if message.last:
            self._read_pieces(run)
        return self._begun(message.request)

    def _read_pieces(self, run: _Run) -> None:
        pieces = {name: bytes(data) for name, data in run.pieces.items()}
        run.pieces.clear()
        model = run.model
        if "model" in pieces:
            if model is not None:
                raise ProtocolViolation(
                    "the model is known here already", fix="send the loss alone, or nothing"
                )
            model = self._made(run.begin, run.settings, pieces["model"])
        if "loss" in pieces:
            if model is None:
                raise ProtocolViolation("a loss came without a model", fix="send the model first")
            model.take_loss(pieces["loss"])
        run.model = model

    @property
    def _begun_run(self) -> _Run:
        if self._run is None:
            raise ProtocolViolation("no run was begun on this connection", fix="send begin first")
        return self._run

    @property
    def _model(self) -> RoomModel:
        model = self._begun_run.model
        if model is None:
            raise ProtocolViolation("the model is not known here", fix="send it with model messages")
        return model

    # -- plans change ------------------------------------------------------------------------------------------------

    def _change(self, message: Message, tensors: Tensors) -> Answer:
        match message:
            case said.Prepare():
                missing = self._model.prepare(message.version, message.plan)
                return said.Prepared(message.request, missing), {}
            case said.Give():
                self._model.stage(message.version, tensors)
                return Result(message.request), {}
            case said.Take():
                values = self._model.export(message.names)
                tensors = {name: encode(value) for name, value in values.items()}
                return said.Taken(message.request, state_digest(values)), tensors
            case said.Commit():
                self._model.commit(message.version, message.digest)
                return Result(message.request), {}
            case said.Abandon():
                self._model.abandon(message.version)
                return Result(message.request), {}
        raise ProtocolViolation(
            f"a training cloud does not answer messages of kind {type(message).__name__}",
            fix="send what partita.train.messages lists",
        )

    # -- training ----------------------------------------------------------------------------------------------------

    def _train(self, message: said.Step | said.Slope | said.Examine, tensors: Tensors) -> Answer:
        force = self._model.in_force(message.version)
        match message:
            case said.Step():
                return force.step(message, tensors)
            case said.Slope():
                return force.slope(message, tensors)
            case said.Examine():
                return force.examine(message, tensors)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def _save(self, message: said.Save) -> Message:
        run, model, limits = self._begun_run, self._model, self._house.limits
        document, values = model.snapshot()
        size = sum(value.nbytes for value in values.values())
        # One more than is kept lies there for a moment.
        if size * (_KEPT_CHECKPOINTS + 1) > limits.disk:
            raise exceeded(
                "keeping the checkpoints of this run", size * (_KEPT_CHECKPOINTS + 1), limits.disk, "disk"
            )
        run.checkpoints.save(message.step, {**document, "step": message.step}, values)
        # What is later belongs to a history that was left, and would push out what the edge can go back to.
        run.checkpoints.discard_after(message.step)
        return said.Saved(message.request, message.step)

    def _recall(self, message: said.Recall) -> Message:
        run, model = self._begun_run, self._model
        if message.step not in run.checkpoints.steps():
            raise NotFound(
                f"there is no checkpoint of step {message.step} here", fix="ask for one that Begun listed"
            )
        document, values = run.checkpoints.load(message.step)
        model.restore(document, values, message.version)
        run.checkpoints.discard_after(message.step)
        return Result(message.request)
