"""The cloud's work under one plan: its part, its lanes, and the steps that wait for their slopes.

    Step       up -> decode -> forward -> encode -> down          or, with the loss: forward, back, update, slopes down
    Slope      decode -> back, update -> encode -> slopes down
    Examine    forward in eval mode, as it came and as it is

Rules: messages are worked on in the order of their arrival; a step that fails leaves nothing behind; labels and ids
are used and not kept longer than the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from time import perf_counter
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from ..engine import Array, Values
from ..errors import BadDocument, LimitExceeded, NotFound, ProtocolViolation
from ..graph import Chain
from ..plan import Plan
from ..run import Pace
from ..wire import Encoded, decode, encode
from .holding import Holding
from .lanes import Lane, lanes_of
from .losses import GIVEN, Loss
from .messages import IDS, LABEL, RNG, Examine, Features, Slope, Slopes, Step, Verdict
from .part import Outcome, TrainedPart
from .roles import CLOUD, Roles, Span, passing, roles_of, upstream
from .room_limits import RoomLimits, exceeded
from .settings import Settings

Ids = NDArray[np.int64]
# The server's own samples, by their ids: values by the names of the model's inputs, labels under `label...`.
Data = Callable[[Ids], Values]
Tensors = Mapping[str, Encoded]
_LABELS: Final = LABEL.rstrip("/")
# torch's generator belongs to the process: of all rooms, one at a time draws from it.
DRAWING: Final = Lock()
# A Mersenne twister takes 5 kB; the generators of accelerators less.
_MOST_RNG: Final = 1 << 16


@dataclass(frozen=True)
class Bench:
    """What stays the same while plans change."""

    chain: Chain
    holding: Holding
    settings: Settings
    loss: Loss | None
    data: Data | None
    pace: Pace
    limits: RoomLimits
    capacity: int = 1 << 20


@final
class InForce:
    """One plan, ready to work. It holds a part only if the plan gives the cloud stages or the loss."""

    def __init__(self, bench: Bench, plan: Plan, version: int) -> None:
        self.plan, self.version = plan, version
        self.roles: Roles = roles_of(plan, bench.chain)
        self._bench = bench
        self._kept: dict[int, Ids | None] = {}
        self.lanes = checked_lanes(bench, self.roles, version)
        self.part = self._make_part()
        span = self.roles.away
        drawing = span is not None and span[0] < span[1] and bench.holding.draws(span)
        self._turn: AbstractContextManager[object] = DRAWING if drawing else nullcontext()

    @property
    def under_way(self) -> int:
        """How many steps wait for their slopes."""
        return len(self._kept)

    @property
    def owns_loss(self) -> bool:
        """Whether the loss is computed here."""
        return _owns_loss(self.roles)

    def _make_part(self) -> TrainedPart | None:
        span, bench = self.roles.away, self._bench
        if span is None or (span[0] == span[1] and not self.owns_loss):
            return None
        by = passing(bench.chain, span) if self.owns_loss else ()
        given = bench.chain.part_inputs(*span) if span[0] < span[1] else ()
        wanted = upstream((*given, *by), bench.chain, bench.holding.frozen())
        if not self.owns_loss:
            return bench.holding.part(span, window=self.plan.window, wanted=wanted)
        return bench.holding.part(span, window=self.plan.window, wanted=wanted, loss=bench.loss, passing=by)

    # -- steps -------------------------------------------------------------------------------------------------------

    def step(self, message: Step, tensors: Tensors) -> tuple[Features | Slopes, dict[str, Encoded]]:
        """Forward one batch; back too where the loss is here."""
        self._admit(message.step)
        began = perf_counter()
        ids, rng, labels, sent = _sorted(tensors)
        values = self.lanes["features_up"].decode(self._crossing(sent), ids)
        self._complete(values, labels, ids)
        if self.owns_loss:
            outcome = self._finish(message, values, labels, rng)
            slopes = {name: value for name, value in outcome.slopes.items() if name in self.roles.up}
            coded = self.lanes["slopes_down"].encode(message.step, slopes, ids)
            seconds = self._paced("step", began)
            told = Slopes(message.request, message.step, seconds, outcome.loss, outcome.right, outcome.count)
            return told, coded
        made, after = self._forward(message.step, values, rng)
        coded = self.lanes["features_down"].encode(message.step, made, ids)
        self._kept[message.step] = ids
        if after is not None and self._tail_draws():
            coded = {**coded, RNG: encode(np.frombuffer(after, np.uint8))}
        return Features(message.request, message.step, self._paced("step", began)), coded

    def _admit(self, step: int) -> None:
        if step in self._kept:
            raise ProtocolViolation(f"step {step} was sent already", fix="send every step once")
        limits = self._bench.limits
        if len(self._kept) >= limits.kept:
            raise LimitExceeded(
                f"{len(self._kept)} steps wait for their slopes, which is the limit here",
                fix="use a smaller window",
            )
        remembered = sum(lane.nbytes for lane in self.lanes.values())
        if remembered > limits.state:
            raise exceeded("what codecs remember of samples", remembered, limits.state, "state")

    def _crossing(self, sent: Tensors) -> dict[str, Encoded]:
        problems = [f"{name}: is missing" for name in self.roles.up if name not in sent]
        problems += [f"{name}: does not cross here" for name in sent if name not in self.roles.up]
        if problems:
            wanted = ", ".join(self.roles.up) or "ids only"
            raise BadDocument("step", problems, fix=f"under this plan send {wanted}")
        return dict(sent)

    def _complete(self, values: Values, labels: Values, ids: Ids | None) -> None:
        """Add what the server's own data says of these samples; labels that were sent go first."""
        if self.roles.inputs_at != CLOUD or self._bench.data is None:
            return
        if ids is None:
            raise BadDocument("step", [f"{IDS}: is missing"], fix="send the ids of the samples")
        found = dict(self._bench.data(ids))
        own = {n: found.pop(n) for n in tuple(found) if n == _LABELS or n.startswith(LABEL)}
        inputs = self._bench.chain.inputs
        if len(inputs) == 1 and len(found) == 1:
            # Data that does not know the model has one thing to give, whatever it is called.
            found = {inputs[0]: next(iter(found.values()))}
        missing = [f"{name}: the data here does not have it" for name in inputs if name not in found]
        if missing:
            raise BadDocument("data", missing, fix="start the cloud with data for this model")
        values.update(found)
        if not labels:
            labels.update(own)

    def _finish(self, message: Step, values: Values, labels: Values, rng: bytes | None) -> Outcome:
        part, rate = self._needed(values), message.rate
        self._need_labels("step", labels)
        with self._turn:
            return part.finish(message.step, _given(part, values), labels, rate, rng=rng)

    def _forward(self, step: int, values: Values, rng: bytes | None) -> tuple[Values, bytes | None]:
        """What goes down: what the part makes, and inputs of the model that are read only there."""
        if self.part is None:
            made, after = dict[str, Array](), None
        else:
            with self._turn:
                made, after = self.part.forward(step, _given(self.part, values), rng=rng)
        return {name: made[name] if name in made else values[name] for name in self.roles.down}, after

    def _tail_draws(self) -> bool:
        span = self.roles.tail
        return span is not None and span[0] < span[1] and self._bench.holding.draws(span)

    def slope(self, message: Slope, tensors: Tensors) -> tuple[Slopes, dict[str, Encoded]]:
        """Back through one batch that waits, and update."""
        step = message.step
        if step not in self._kept:
            raise NotFound(f"step {step} does not wait for slopes here", fix="send the step first")
        began = perf_counter()
        ids = self._kept[step]
        strange = [f"{name}: does not cross here" for name in tensors if name not in self.roles.down]
        if strange:
            raise BadDocument("slope", strange, fix=f"send slopes of {', '.join(self.roles.down)}")
        slopes = self.lanes["slopes_up"].decode(dict(tensors), ids)
        slopes = self.lanes["features_down"].correct(step, slopes)
        del self._kept[step]
        back: Values = {}
        if self.part is not None:
            mine = {name: value for name, value in slopes.items() if name in self.part.outputs}
            with self._turn:
                back = self.part.backward(step, mine, message.rate)
        sent = {name: value for name, value in back.items() if name in self.roles.up}
        coded = self.lanes["slopes_down"].encode(step, sent, ids)
        return Slopes(message.request, step, self._paced("slope", began)), coded

    def examine(self, message: Examine, tensors: Tensors) -> tuple[Features | Verdict, dict[str, Encoded]]:
        """Forward in eval mode; judged where the loss is here."""
        ids, _, labels, sent = _sorted(tensors)
        values = {name: decode(tensor) for name, tensor in self._crossing(sent).items()}
        self._complete(values, labels, ids)
        if not self.owns_loss:
            with self._turn:
                made = self.part.examine(_given(self.part, values)) if self.part is not None else {}
            down = {name: made[name] if name in made else values[name] for name in self.roles.down}
            return Features(message.request, 0), {name: encode(value) for name, value in down.items()}
        self._need_labels("examine", labels)
        part = self._needed(values)
        with self._turn:
            outcome = part.judge(_given(part, values), labels)
        samples = next((len(value) for value in (*labels.values(), *values.values()) if value.ndim), 1)
        return Verdict(message.request, outcome.loss * samples, outcome.right, outcome.count), {}

    def forget(self) -> None:
        """Let go of everything that waits."""
        self._kept.clear()
        if self.part is not None:
            self.part.forget()

    def _need_labels(self, what: str, labels: Values) -> None:
        # `given` is a loss that the model itself computes, from labels among its inputs.
        if not labels and self._bench.settings.loss != GIVEN:
            raise BadDocument(what, [f"{LABEL}...: is missing"], fix="send the labels with the features")

    def _needed(self, values: Values) -> TrainedPart:
        part = self.part
        if part is None:  # pragma: no cover - who owns the loss has a part
            raise AssertionError(sorted(values))
        return part

    def _paced(self, work: str, began: float) -> float:
        self._bench.pace.keep((self.version, work), began)
        return perf_counter() - began


def _owns_loss(roles: Roles) -> bool:
    return roles.away is not None and roles.loss_at == CLOUD


def checked_lanes(bench: Bench, roles: Roles, version: int) -> dict[str, Lane]:
    """The four lanes of a plan, if this place has what the plan asks for."""
    problems = []
    if _owns_loss(roles) and bench.loss is None:
        problems.append("it has the loss at the cloud, which was given none")
    if roles.away is not None and roles.inputs_at == CLOUD and bench.data is None:
        problems.append("it has the inputs at the cloud, which has no data")
    if problems:
        raise BadDocument(
            "plan", problems, fix="keep loss and inputs at the edge, or start the cloud with --data"
        )
    return lanes_of(roles, bench.settings, version, bench.capacity)


def states_of(plan: Plan, chain: Chain, holding: Holding) -> tuple[str, ...]:
    """The states that the cloud holds under a plan."""
    span: Span | None = roles_of(plan, chain).away
    return holding.names(span) if span is not None and span[0] < span[1] else ()


def _given(part: TrainedPart, values: Values) -> Values:
    return {name: values[name] for name in part.inputs if name in values}


def _sorted(tensors: Tensors) -> tuple[Ids | None, bytes | None, Values, dict[str, Encoded]]:
    """Ids, the state of the random numbers, labels, and the rest as it came."""
    sent = dict(tensors)
    ids, rng = sent.pop(IDS, None), sent.pop(RNG, None)
    labels = {
        name.removeprefix(LABEL): decode(sent.pop(name)) for name in tuple(sent) if name.startswith(LABEL)
    }
    return (
        None if ids is None else _read_ids(ids),
        None if rng is None else decode(rng, limit=_MOST_RNG).tobytes(),
        labels,
        sent,
    )


def _read_ids(encoded: Encoded) -> Ids:
    ids = decode(encoded)
    if ids.dtype != np.int64 or ids.ndim != 1:
        raise BadDocument(
            "step", [f"{IDS}: is {ids.dtype}{list(ids.shape)}, not int64[batch]"], fix="send one id a sample"
        )
    return ids
