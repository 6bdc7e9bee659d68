import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from partita.plan import Hop, PlacedPart, Plan
from partita.run import Driver, PlaceServer, Remote
from partita.testing import TinyModel
from partita.wire import connect

T = TypeVar("T")


@pytest.fixture
def tiny() -> TinyModel:
    return TinyModel(6, skips={4: 0, 5: 2})


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """A plan from cuts: edge | cloud | edge, with one codec for all hops."""

    def build(model: TinyModel, *cuts: int, codec: str = "raw", window: int = 0, mode: Any = "infer") -> Plan:
        ends = [0, *cuts, len(model.chain)]
        parts = tuple(
            PlacedPart(("edge", "cloud", "edge")[i], *ends[i : i + 2]) for i in range(len(ends) - 1)
        )
        return Plan(
            model.chain.name,
            model.chain.digest,
            parts,
            tuple(Hop(codec, codec) for _ in parts[1:]),
            window,
            2,
            mode,
        )

    return build


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine to its end, within a time that a test may take."""

    def go(coroutine: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(60):
                return await coroutine

        return asyncio.run(bounded())

    return go


@pytest.fixture
def driven(run: Callable[[Any], Any]) -> Callable[..., Any]:
    """Run `work(driver)` for a plan, with the cloud behind an in-process connection and weights of its own."""

    def go(
        model: TinyModel, plan: Plan, work: Callable[[Driver], Awaitable[T]], there: TinyModel | None = None
    ) -> T:
        async def scene() -> T:
            offers = {"tiny": lambda: there or TinyModel(len(model.chain), skips=model.skips, seed=99)}
            async with PlaceServer("mem://cloud", offers) as server:
                async with Remote(await connect(server.url)) as remote:
                    async with Driver(model, plan, {"cloud": remote}) as driver:
                        return await work(driver)

        result: T = run(scene())
        return result

    return go
