"""The driving side of a run: one plan, its local parts and its remote ones, step after step.

Rules: a tensor that two local parts share never leaves this place; up to K+1 steps are on their way, and a later
part goes before an earlier one; computing happens in one thread, so that what is measured is what a part takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from time import perf_counter
from typing import TypeVar, final

import numpy as np

from ..engine import Array, Captured, Learner, Part, Values
from ..errors import BadDocument, PartFailed
from ..plan import Hop, Plan
from ..wire import Backward, Encoded, Forward, decode, encode, parse_codec
from .pace import Pace
from .remote import Remote, Reply

_T = TypeVar("_T")
_RAW = Hop()
GradientOf = Callable[[Values], Mapping[str, Array]]


@dataclass(slots=True)
class StepTimes:
    """When one step began and ended, and what it used, in seconds and bytes."""

    index: int
    began: float = 0.0
    ended: float = 0.0
    local: float = 0.0
    remote: float = 0.0
    up: int = 0
    down: int = 0


@dataclass(slots=True)
class Step:
    """One step on its way: its values so far, and its times."""

    times: StepTimes
    values: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Leg:
    """One part of the plan, and how it is reached."""

    order: int
    name: str
    part: Part
    remote: Remote | None
    before: Hop
    after: Hop


def check_plan(model: Captured, plan: Plan) -> None:
    """Refuse a plan that cannot run: for another model, across an illegal cut, with an unknown codec."""
    plan.check(model.chain)
    for hop in plan.hops:
        parse_codec(hop.forward)
        parse_codec(hop.back)


class _Compute:
    """One thread that computes; of the work that waits, the latest part goes first."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partita-compute")
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._busy = False

    async def run(self, order: int, index: int, work: Callable[[], _T]) -> _T:
        """Do `work` in the thread when nothing later waits."""
        loop = asyncio.get_running_loop()
        if self._busy:
            turn: asyncio.Future[None] = loop.create_future()
            heappush(self._waiting, (-order, index, next(self._numbers), turn))
            try:
                await turn
            except asyncio.CancelledError:
                # The turn may have come in the same moment: it must not be lost with whoever waited for it.
                if turn.done() and not turn.cancelled():
                    self._pass_on()
                raise
        self._busy = True
        try:
            return await loop.run_in_executor(self._thread, work)
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """The turn goes to the next that still waits for it."""
        while self._waiting:
            turn = heappop(self._waiting)[3]
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


@final
class Driver:
    """Runs a plan. Use it as `async with Driver(model, plan, {"cloud": remote}) as driver`.

    `slow` stretches all computing here so many times: another device, pretended.
    """

    def __init__(
        self, model: Captured, plan: Plan, remotes: Mapping[str, Remote], *, slow: float = 1.0
    ) -> None:
        check_plan(model, plan)
        self._model, self._plan, self._remotes = model, plan, remotes
        self._pace = Pace(slow)
        self._legs: tuple[_Leg, ...] = ()
        self._compute = _Compute()

    async def __aenter__(self) -> Driver:
        try:
            working = [order for order, placed in enumerate(self._plan.parts) if not placed.empty]
            self._legs = tuple([await self._leg(order) for order in working])
        except BaseException:
            self._compute.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._compute.close()

    async def _leg(self, order: int) -> _Leg:
        placed = self._plan.parts[order]
        part = self._model.part(placed.start, placed.stop)
        if isinstance(part, Learner):
            part.set_mode("train" if self._plan.mode == "train" else "eval")
        remote = self._remotes.get(placed.place)
        hops = (_RAW, *self._plan.hops, _RAW)
        leg = _Leg(order, f"{placed.place}-{order}", part, remote, hops[order], hops[order + 1])
        if remote is not None:
            codecs = {"forward": leg.after.forward, "back": leg.before.back}
            await remote.load(leg.name, self._model.chain, part, mode=self._plan.mode, codecs=codecs)
        return leg

    async def forward(self, values: Mapping[str, Array], *, index: int = 0) -> tuple[Values, StepTimes]:
        """One step: the model's outputs, and what the step took."""
        step = self._begin(values, index)
        for leg in self._legs:
            await self._forward(leg, step, keep=False)
        return self._outputs(step), self._end(step)

    async def train(
        self, values: Mapping[str, Array], gradient_of: GradientOf, *, index: int = 0
    ) -> tuple[Values, Values, StepTimes]:
        """One step forward and back: outputs, gradients of the inputs, times. Parameters gather their gradients.

        `gradient_of` gives the gradients of the outputs, as the user's loss has them.
        """
        step = self._begin(values, index)
        for leg in self._legs:
            await self._forward(leg, step, keep=True)
        outputs = self._outputs(step)
        gradients = dict(await self._compute.run(len(self._legs), index, lambda: gradient_of(outputs)))
        for leg in reversed(self._legs):
            await self._backward(leg, step, gradients)
        inputs = {name: gradients[name] for name in self._model.chain.inputs if name in gradients}
        return outputs, inputs, self._end(step)

    async def gradients(self) -> Values:
        """The gradients of all parameters so far, those of shared ones summed."""
        total: Values = {}
        for leg in self._legs:
            found = await leg.remote.fetch(leg.name, "gradients") if leg.remote else _learner(leg).gradients()
            _add(total, found)
        return total

    def _begin(self, values: Mapping[str, Array], index: int) -> Step:
        problems = [f"{name}: is missing" for name in self._model.chain.inputs if name not in values]
        if problems:
            raise BadDocument("inputs", problems, fix=f"give {', '.join(self._model.chain.inputs)}")
        return Step(StepTimes(index, began=perf_counter()), dict(values))

    def _end(self, step: Step) -> StepTimes:
        step.times.ended = perf_counter()
        return step.times

    def _outputs(self, step: Step) -> Values:
        return {name: step.values[name] for name in self._model.chain.outputs}

    async def _here(self, leg: _Leg, step: Step, what: object, work: Callable[[], _T]) -> _T:
        """Work in the compute thread, timed; `what` it is, for the pace."""

        def timed() -> _T:
            began = perf_counter()
            try:
                return work()
            finally:
                self._pace.keep((leg.order, what), began)
                step.times.local += perf_counter() - began

        return await self._compute.run(leg.order, step.times.index, timed)

    async def _there(
        self,
        leg: _Leg,
        step: Step,
        values: Values,
        codec: str,
        ask: Callable[[dict[str, Encoded]], Awaitable[Reply]],
    ) -> Values:
        """Work on the other side: encode, ask, decode."""
        index = step.times.index
        sent = await self._here(
            leg,
            step,
            ("encode", *values),
            lambda: {name: encode(value, codec, draw=index) for name, value in values.items()},
        )
        step.times.up += sum(encoded.nbytes for encoded in sent.values())
        reply = await ask(sent)
        step.times.down += sum(encoded.nbytes for encoded in reply.tensors.values())
        step.times.remote += getattr(reply.message, "seconds", 0.0)
        return await self._here(
            leg,
            step,
            ("decode", *values),
            lambda: {name: decode(e) for name, e in reply.tensors.items()},
        )

    async def _forward(self, leg: _Leg, step: Step, *, keep: bool) -> None:
        values = {name: step.values[name] for name in leg.part.inputs}
        index, remote = step.times.index, leg.remote
        if remote is not None:
            made = await self._there(
                leg,
                step,
                values,
                leg.before.forward,
                lambda sent: remote.ask(Forward(remote.number(), leg.name, index, keep), sent),
            )
        elif keep:
            made = await self._here(leg, step, "forward", lambda: _learner(leg).forward_kept(values, index))
        else:
            made = await self._here(leg, step, "forward", lambda: leg.part.forward(values))
        step.values.update(made)

    async def _backward(self, leg: _Leg, step: Step, gradients: Values) -> None:
        """Take the gradients of a part's outputs, add those of its inputs."""
        given = {name: gradients[name] for name in leg.part.outputs if name in gradients}
        index, remote = step.times.index, leg.remote
        if remote is not None:
            made = await self._there(
                leg,
                step,
                given,
                leg.after.back,
                lambda sent: remote.ask(Backward(remote.number(), leg.name, index), sent),
            )
        else:
            made = await self._here(leg, step, "backward", lambda: _learner(leg).backward(given, index))
        _add(gradients, made)


def _learner(leg: _Leg) -> Learner:
    if not isinstance(leg.part, Learner):
        raise PartFailed("this model's engine does not train", fix="capture the model with torch")
    return leg.part


def _add(total: Values, more: Mapping[str, Array]) -> None:
    """Add gradients in place of the mapping; arrays themselves may be views and stay as they are."""
    for name, value in more.items():
        total[name] = np.add(total[name], value) if name in total else value
