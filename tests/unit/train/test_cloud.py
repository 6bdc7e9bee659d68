import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partita.errors import PartitaError, SessionMisused
from partita.graph import dump
from partita.train.cloud import TAKEN_OVER, CloudServer
from partita.train.messages import TRAINING, Begin, Begun, Measure, Save, Take
from partita.train.room import Room
from partita.train.room_limits import RoomLimits
from partita.train.settings import Settings
from partita.wire import Connection, Encoded, Failed, Message, connect, encode
from partita.wire import Settings as WireSettings

URL = "mem://train-cloud-test"
WIRE = WireSettings(vocabulary=TRAINING)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run one conversation."""
    return asyncio.run(asyncio.wait_for(work, 60))


def begin(letter: str, digest: str = "sha256:1") -> Begin:
    """A run whose model is not known."""
    return Begin(1, letter * 32, "net", digest, dump(Settings(), indent=None))


async def asked(
    connection: Connection, message: Message, tensors: Mapping[str, Any] | None = None
) -> Message:
    """The answer to one message."""
    await connection.send(message, tensors)
    answer, _ = await connection.receive()
    return answer


class Remote:
    """A room at the other end of a connection, for an edge that thinks it is here."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection, self._loop = connection, loop

    def answer(
        self, message: Message, tensors: Mapping[str, Encoded]
    ) -> tuple[Message, Mapping[str, Encoded]]:
        """Over the wire and back."""
        return asyncio.run_coroutine_threadsafe(self._ask(message, tensors), self._loop).result(60)

    async def _ask(
        self, message: Message, tensors: Mapping[str, Encoded]
    ) -> tuple[Message, Mapping[str, Encoded]]:
        await self._connection.send(message, tensors)
        return await self._connection.receive()


def test_two_edges_train_at_one_cloud_as_if_alone(
    edge_at: Callable[..., Any], unsplit: Any, tmp_path: Path
) -> None:
    """Over connections, at the same time: their final weights are those of an unsplit training."""
    lines: list[str] = []

    def train(one: Any, two: Any) -> Any:
        edges = [edge_at(room, run=letter * 32) for room, letter in ((one, "a"), (two, "b"))]
        for edge in edges:
            edge.change("edge[0:4] -raw/raw-> cloud[4:7] | mode=train")
        for step in range(5):
            for edge in edges[step >= 3 :]:
                edge.step(step)
        for edge in edges:
            edge.save(5)
        return [edge.gather() for edge in edges]

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        async with CloudServer(URL, state=tmp_path, log=lines.append, workers=2) as server:
            connections = [await connect(server.url, settings=WIRE) for _ in "ab"]
            found = await asyncio.to_thread(train, *(Remote(connection, loop) for connection in connections))
            for connection in connections:
                await connection.close()
            return found

    for weights, steps in zip(run(work()), (3, 5), strict=True):
        assert all((value == unsplit(steps)[1][name]).all() for name, value in weights.items())
    told = "\n".join(lines)
    for words in ("came", "plan 1 is in force", "checkpoint of step 5", "is gone"):
        assert words in told
    assert "aaaa" not in told  # the runs' names are secrets


def test_a_run_that_is_begun_again_belongs_to_the_second() -> None:
    """The first is told so at once, and its session is over; the second has the run."""

    async def work() -> tuple[Message, str]:
        async with CloudServer(URL) as server:
            one = await connect(server.url, settings=WIRE)
            two = await connect(server.url, settings=WIRE)
            await asked(one, begin("a"))
            answer = await asked(two, begin("a"))
            with pytest.raises(SessionMisused) as lost:
                await one.receive()
            assert server.visitors == 1
            await two.close()
            return answer, lost.value.problem

    answer, problem = run(work())
    assert isinstance(answer, Begun)
    assert TAKEN_OVER in problem


def test_the_work_of_a_run_that_is_taken_over_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rooms never have one folder: the second begins when the first has answered."""
    order: list[str] = []
    whole = Room.answer

    async def work() -> None:
        loop, entered, free = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def slow(self: Room, message: Message, tensors: Mapping[str, Encoded]) -> Any:
            if isinstance(message, Save):
                loop.call_soon_threadsafe(entered.set)
                asyncio.run_coroutine_threadsafe(free.wait(), loop).result(30)
            order.append(type(message).__name__)
            return whole(self, message, tensors)

        monkeypatch.setattr(Room, "answer", slow)
        async with CloudServer(URL, workers=2) as server:
            one = await connect(server.url, settings=WIRE)
            two = await connect(server.url, settings=WIRE)
            await asked(one, begin("a"))
            await one.send(Save(2, 1))
            await entered.wait()
            begun = asyncio.create_task(asked(two, begin("a")))
            await asyncio.sleep(0.05)
            free.set()
            assert isinstance(await begun, Begun)
            await two.close()

    run(work())
    assert order == ["Begin", "Save", "Begin"]


def test_a_visitor_too_many_is_refused_and_may_come_later() -> None:
    """Its connection stays; when one has left there is room."""

    async def work() -> tuple[Message, Message]:
        left = asyncio.Event()

        def log(line: str) -> None:
            if line.endswith("is gone"):
                left.set()

        async with CloudServer(URL, limits=RoomLimits(visitors=1), log=log) as server:
            one = await connect(server.url, settings=WIRE)
            two = await connect(server.url, settings=WIRE)
            await asked(one, begin("a"))
            refused = await asked(two, begin("b"))
            await one.close()
            await left.wait()
            accepted = await asked(two, begin("b"))
            await two.close()
            return refused, accepted

    refused, accepted = run(work())
    assert isinstance(refused, Failed)
    assert refused.code == "limit-exceeded"
    assert isinstance(accepted, Begun)


def test_a_visitor_that_asks_nothing_is_let_go() -> None:
    """Heartbeats are no work; the reason is named."""

    async def work() -> str:
        async with CloudServer(URL, limits=RoomLimits(idle=0.1)) as server:
            one = await connect(server.url, settings=WIRE)
            await asked(one, begin("a"))
            with pytest.raises(PartitaError) as lost:
                await one.receive()
            return str(lost.value)

    assert "nothing was asked for" in run(work())


def test_wrong_messages_end_nothing() -> None:
    """A failure is an answer; the connection goes on."""

    async def work() -> list[Message]:
        async with CloudServer(URL) as server:
            connection = await connect(server.url, settings=WIRE)
            found = [
                await asked(connection, Take(1, ("x",))),
                await asked(connection, Begin(2, "../x", "net", "", "{}")),
                await asked(connection, Measure(3, 1), {"strange": encode(np.zeros(1))}),
                await asked(connection, begin("a")),
            ]
            await connection.close()
            return found

    *wrong, good = run(work())
    assert [type(answer) for answer in wrong] == [Failed] * 3
    assert isinstance(good, Begun)


def test_an_answer_too_large_to_send_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered all the same."""
    large = {"x": encode(np.zeros(3000, np.float64))}
    monkeypatch.setattr(Room, "answer", lambda *_: (Begun(9, False), large))
    from partita.wire import Limits

    async def work() -> Message:
        wire = WireSettings(limits=Limits(max_body=1 << 14, max_tensor=1 << 14))
        async with CloudServer(URL, wire=wire) as server:
            connection = await connect(server.url, settings=WIRE)
            answer = await asked(connection, Save(9, 1))
            await connection.close()
            return answer

    answer = run(work())
    assert isinstance(answer, Failed)
    assert (answer.request, answer.code) == (9, "session-misused")


def test_a_cloud_without_a_folder_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own folder goes with it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    there: list[int] = []

    def look() -> None:
        there.append(sum(1 for _ in tmp_path.iterdir()))

    async def work() -> None:
        async with CloudServer(URL) as server:
            connection = await connect(server.url, settings=WIRE)
            await asked(connection, begin("a"))
            look()
            await connection.close()

    run(work())
    look()
    assert there == [1, 0]
