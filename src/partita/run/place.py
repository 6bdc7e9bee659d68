"""The serving side of a run: one visitor's parts, its messages in, answers out. No I/O.

Rules: a visitor names a model that this place offers, never code; its digest must match; what a visitor loads is
its own, so that two visitors never meet; whatever goes wrong is an answer, and the place lives on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import final

from ..engine import Captured, Learner, Part, Values
from ..errors import BadDocument, DigestMismatch, NotFound, PartFailed, PartitaError, ProtocolViolation
from ..wire import (
    Backward,
    Drop,
    Encoded,
    Failed,
    Fetch,
    Forward,
    Load,
    Loaded,
    Message,
    Result,
    State,
    decode,
    encode,
    parse_codec,
)
from .pace import Pace
from .weights import weights_digest

# A visitor holds the parts of one plan: two for edge | cloud | edge, and room for a plan that replaces it.
MOST_PARTS = 8
# What is kept between a forward and its backward; a window beyond this is a mistake of the visitor.
MOST_KEPT = 64

Answer = tuple[Message, Mapping[str, Encoded]]
Offer = Callable[[], Captured]


@dataclass(slots=True)
class _Held:
    part: Part
    forward: str
    back: str
    answers: frozenset[str]
    kept: set[int] = field(default_factory=set)
    arriving: Values = field(default_factory=dict)


@final
class Place:
    """What one visitor can do here: load parts of the models on offer, and run them.

    `offers` maps a model's name to a function that captures it anew: each visitor has weights of its own.
    `slow` stretches all computing so many times: another device, pretended.
    """

    def __init__(self, offers: Mapping[str, Offer], *, slow: float = 1.0) -> None:
        self._offers, self._pace = offers, Pace(slow)
        self._models: dict[str, Captured] = {}
        self._parts: dict[str, _Held] = {}

    def answer(self, message: Message, tensors: Mapping[str, Encoded]) -> Answer:
        """The answer to a message: always one, `Failed` where the work could not be done."""
        request = getattr(message, "request", 0)
        try:
            return self._work(message, tensors)
        except PartitaError as error:
            return Failed(request, error.code, error.problem[:8000], error.fix[:8000]), {}
        except Exception as error:
            failed = PartFailed(
                f"{type(error).__name__}: {error}", fix="run the part alone with the same values"
            )
            return Failed(request, failed.code, failed.problem[:8000], failed.fix), {}

    def _work(self, message: Message, tensors: Mapping[str, Encoded]) -> Answer:
        match message:
            case Load():
                return self._load(message), {}
            case State():
                return self._state(message, _decoded(tensors)), {}
            case Forward():
                return self._forward(message, tensors)
            case Backward():
                return self._backward(message, tensors)
            case Fetch():
                return self._fetch(message)
            case Drop():
                self._parts.pop(message.part, None)
                return Result(message.request), {}
        raise ProtocolViolation(
            f"a place does not answer messages of kind {type(message).__name__}",
            fix="send load, state, forward, backward, fetch or drop",
        )

    def _load(self, message: Load) -> Message:
        if message.part not in self._parts and len(self._parts) >= MOST_PARTS:
            raise PartFailed(
                f"this visitor already holds {MOST_PARTS} parts", fix="drop one before loading another"
            )
        model = self._model(message)
        part = model.part(message.start, message.stop)
        codecs = [message.options.get(way, "raw") for way in ("forward", "back")]
        for codec in codecs:
            parse_codec(codec)
        if isinstance(part, Learner):
            part.set_mode(message.mode)
        self._parts[message.part] = _Held(part, codecs[0], codecs[1], frozenset(model.chain.outputs))
        return Loaded(message.request, message.part, part.inputs, part.outputs, weights_digest(part))

    def _model(self, message: Load) -> Captured:
        # One model on offer is the one that is meant, whatever path or name the visitor knows it by.
        name = next(iter(self._offers)) if len(self._offers) == 1 else message.model
        if name not in self._offers:
            offered = ", ".join(sorted(self._offers)) or "none"
            raise NotFound(
                f"model {name!r} is not offered here; offered: {offered}",
                fix=f"start this place with {name!r}, or ask for one that it offers",
            )
        if name not in self._models:
            self._models[name] = self._offers[name]()
        model = self._models[name]
        if model.chain.digest != message.digest:
            raise DigestMismatch(
                f"the model here is {name!r} ({model.chain.digest[:19]}), "
                f"the visitor's is {message.model!r} ({message.digest[:19]})",
                fix="use the same model file, library versions and --depth on both sides",
            )
        return model

    def _held(self, name: str) -> _Held:
        if name not in self._parts:
            raise NotFound(f"part {name!r} is not loaded here", fix="load it first")
        return self._parts[name]

    def _learner(self, name: str) -> tuple[_Held, Learner]:
        held = self._held(name)
        if not isinstance(held.part, Learner):
            raise PartFailed(
                f"part {name!r} runs on an engine that does not train", fix="capture the model with torch"
            )
        return held, held.part

    def _state(self, message: State, values: Values) -> Message:
        """Gather a state message by message; load it, all or nothing, with the last one."""
        held, part = self._learner(message.part)
        _check_state(part, held.arriving, values)
        held.arriving |= values
        if message.last:
            state, held.arriving = held.arriving, {}
            part.load_state(state)
        return Result(message.request)

    def _forward(self, message: Forward, tensors: Mapping[str, Encoded]) -> Answer:
        held = self._held(message.part)
        if message.keep and len(held.kept) >= MOST_KEPT:
            raise PartFailed(f"{MOST_KEPT} steps wait for their backward", fix="use a smaller window")
        began = perf_counter()
        values = _decoded(tensors)
        _check_inputs(held.part, values)
        if message.keep:
            _, part = self._learner(message.part)
            outputs = part.forward_kept(values, message.step)
            held.kept.add(message.step)
        else:
            outputs = held.part.forward(values)
        encoded = {
            # What the model answers travels as it is: a codec is for what lies between.
            name: encode(value, "raw" if name in held.answers else held.forward, draw=message.step)
            for name, value in outputs.items()
        }
        self._pace.keep((message.part, message.__class__), began)
        return Result(message.request, perf_counter() - began), encoded

    def _backward(self, message: Backward, tensors: Mapping[str, Encoded]) -> Answer:
        held, part = self._learner(message.part)
        if message.step not in held.kept:
            raise NotFound(
                f"step {message.step} of part {message.part!r} was not kept",
                fix="send forward with keep first",
            )
        began = perf_counter()
        held.kept.discard(message.step)
        gradients = part.backward(_decoded(tensors), message.step)
        encoded = {name: encode(value, held.back, draw=message.step) for name, value in gradients.items()}
        self._pace.keep((message.part, message.__class__), began)
        return Result(message.request, perf_counter() - began), encoded

    def _fetch(self, message: Fetch) -> Answer:
        _, part = self._learner(message.part)
        values = part.state() if message.what == "state" else part.gradients()
        return Result(message.request), {name: encode(value) for name, value in values.items()}


def _decoded(tensors: Mapping[str, Encoded]) -> Values:
    return {name: decode(encoded) for name, encoded in tensors.items()}


def _check_inputs(part: Part, values: Values) -> None:
    problems = [f"{name}: is missing" for name in part.inputs if name not in values]
    problems += [f"{name}: is no input of this part" for name in values if name not in part.inputs]
    if problems:
        raise BadDocument("forward", problems, fix=f"send exactly {', '.join(part.inputs) or 'nothing'}")


def _check_state(part: Learner, arriving: Values, values: Values) -> None:
    """Refuse what the part has no place for, so that no more is held than the part itself has."""
    own = part.state()
    problems = [f"{name}: is no weight of this part" for name in values if name not in own]
    problems += [f"{name}: was sent already" for name in values if name in arriving]
    problems += [
        f"{name}: is {value.dtype}{list(value.shape)}, not {own[name].dtype}{list(own[name].shape)}"
        for name, value in values.items()
        if name in own and (value.shape != own[name].shape or value.dtype != own[name].dtype)
    ]
    if problems:
        raise BadDocument("state", problems, fix="send each weight of this part once, as it is")
