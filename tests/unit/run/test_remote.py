from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from partita.errors import ConnectionLost, DigestMismatch, NotFound, PartitaError, RemotePartFailed
from partita.run import PlaceServer, Remote, weights_digest
from partita.testing import TinyModel
from partita.wire import Forward, connect, encode

Run = Callable[[Any], Any]


def test_only_weights_that_differ_are_sent(tiny: TinyModel, run: Run) -> None:
    """A place that already has the weights is not sent them again."""

    async def bytes_sent(seed: int) -> int:
        offers = {"tiny": lambda: TinyModel(6, skips=tiny.skips, seed=seed)}
        async with PlaceServer("mem://weights", offers) as server:
            connection = await connect(server.url)
            async with Remote(connection) as remote:
                await remote.load("p", tiny.chain, tiny.part(1, 4))
                return connection.stats.sent_payload

    assert run(bytes_sent(seed=0)) == 0
    assert run(bytes_sent(seed=1)) == 3 * 8 * 8 * 8


def test_the_error_of_the_other_side_is_raised_here(tiny: TinyModel, run: Run) -> None:
    """Errors that mean the same here keep their kind; the other side's own failures are remote ones."""

    async def ask(message: Forward) -> None:
        async with PlaceServer("mem://errors", {"tiny": lambda: tiny}) as server:
            async with Remote(await connect(server.url)) as remote:
                await remote.load("p", tiny.chain, tiny.part(0, 3))
                await remote.ask(message, {"x": encode(np.ones((2, 3)))})

    with pytest.raises(NotFound, match="the other side: part 'q'"):
        run(ask(Forward(90, "q")))
    with pytest.raises(RemotePartFailed, match="matmul"):
        run(ask(Forward(90, "p")))


def test_a_server_that_goes_away_fails_what_waits(tiny: TinyModel, run: Run) -> None:
    """Nobody waits for an answer that cannot come."""

    async def ask() -> None:
        server = PlaceServer("mem://gone", {"tiny": lambda: tiny})
        await server.__aenter__()
        async with Remote(await connect(server.url)) as remote:
            await server.__aexit__()
            await remote.ask(Forward(1, "p"))

    with pytest.raises(PartitaError) as caught:
        run(ask())
    assert isinstance(caught.value, (ConnectionLost, PartitaError))


def test_weights_that_differ_and_cannot_be_sent_are_refused(tiny: TinyModel, run: Run) -> None:
    """An engine without state refuses to run with weights other than this side's."""

    class Only:
        start, stop, inputs, outputs = 0, 3, ("x",), ("t0", "t2")
        weights = "sha256:mine"

    async def load() -> None:
        async with PlaceServer("mem://frozen", {"tiny": lambda: tiny}) as server:
            async with Remote(await connect(server.url)) as remote:
                await remote.load("p", tiny.chain, Only())  # type: ignore[arg-type]

    with pytest.raises(DigestMismatch, match="weights"):
        run(load())


def test_a_state_larger_than_a_message_is_sent_in_several(
    tiny: TinyModel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one weight in a message, all six arrive, and the part there is the part here."""
    monkeypatch.setattr("partita.run.weights.STATE_MESSAGE_BYTES", 600)
    there = TinyModel(6, skips=tiny.skips, seed=1)

    async def load() -> None:
        async with PlaceServer("mem://large", {"tiny": lambda: there}) as server:
            async with Remote(await connect(server.url)) as remote:
                await remote.load("p", tiny.chain, tiny.part(0, 6))

    run(load())

    assert weights_digest(there.part(0, 6)) == weights_digest(tiny.part(0, 6))
