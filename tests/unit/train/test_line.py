"""The edge's line: requests out, answers when they are waited for, and nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from partita.errors import AccessDenied, ConnectionLost, PartitaError, RemotePartFailed, Unreachable
from partita.graph import dump
from partita.run import Remote
from partita.train import line as line_module
from partita.train.cloud import CloudServer
from partita.train.line import DirectLine, WireLine, ask
from partita.train.messages import Begin, Begun, Measure, Save, Slopes, Step
from partita.train.settings import Settings
from partita.wire import Failed, encode

TOKEN = "t" * 32


@contextmanager
def served(**fields: Any) -> Iterator[str]:
    """The address of a cloud in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    server = CloudServer("ws://127.0.0.1:0", token=TOKEN, **fields)
    do(server.__aenter__())
    try:
        yield server.url
    finally:
        do(server.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as address:
        yield address


def lines_running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "partita-line"]


def begin(line: WireLine, letter: str = "a") -> Begin:
    return Begin(line.number(), letter * 32, "net", "sha256:1", dump(Settings(), indent=None))


def test_requests_are_answered_over_the_network(url: str) -> None:
    line = WireLine(url, token=TOKEN)
    answer = ask(line, begin(line)).message
    link, stats = line.probe(1 << 10).result(10), line.stats()
    line.close()

    assert isinstance(answer, Begun)
    assert link.rtt is not None
    assert stats.messages_sent >= 1
    assert lines_running() == []


def test_what_the_cloud_cannot_do_comes_as_an_error(url: str) -> None:
    line = WireLine(url, token=TOKEN)
    ticket = line.post(Save(line.number(), 1))
    with pytest.raises(PartitaError, match="begin") as refusal:
        ticket.result(10)
    line.close()

    assert refusal.value.fix


def test_posting_does_not_wait_and_answers_come_in_order(url: str) -> None:
    line = WireLine(url, token=TOKEN)
    done: list[int] = []
    tickets = [line.post(Measure(line.number(), 1)) for _ in range(20)]
    for at, ticket in enumerate(tickets):
        ticket.add_done_callback(lambda _, at=at: done.append(at))
    for ticket in tickets:
        assert isinstance(ticket.exception(10), PartitaError)
    line.close()

    assert done == list(range(20))


@pytest.mark.parametrize(
    ("address", "token", "error"),
    [
        ("ws://127.0.0.1:9", TOKEN, Unreachable),
        ("{url}", "x" * 32, AccessDenied),
        ("{url}", None, AccessDenied),
        ("http://127.0.0.1:9", TOKEN, PartitaError),
    ],
)
def test_a_line_that_does_not_come_about_leaves_no_thread(
    address: str, token: str | None, error: type[PartitaError], url: str
) -> None:
    with pytest.raises(error) as refusal:
        WireLine(address.format(url=url), token=token)

    assert refusal.value.fix
    assert lines_running() == []


def test_who_hangs_up_leaves_nobody_waiting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was not answered yet has failed."""
    line = WireLine(url, token=TOKEN)
    monkeypatch.setattr(Remote, "_settle", lambda *_: None)
    ticket = line.post(begin(line))
    line.close()

    assert isinstance(ticket.exception(10), ConnectionLost)
    assert lines_running() == []


def test_a_line_whose_cloud_is_gone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "RESUME_SECONDS", 0.1)
    with served() as address:
        line = WireLine(address, token=TOKEN)
        ask(line, begin(line))
    with pytest.raises(ConnectionLost) as loss:
        ask(line, begin(line, "b"))
    line.close()

    assert loss.value.fix


class Scripted:
    """A room that has one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer: Callable[..., Any] = lambda message, tensors: (answer, {"x": encode(np.ones(2))})


def test_a_direct_line_answers_at_once() -> None:
    line = DirectLine(Scripted(Slopes(1, 2)))
    ticket = line.post(Step(line.number(), 1, 2, 0.1))

    assert ticket.done()
    assert list(ticket.result().tensors) == ["x"]
    assert line.number() == 2
    assert not line.withdraw(Step(1, 1, 2, 0.1), ticket)


def test_a_direct_line_raises_what_failed() -> None:
    line = DirectLine(Scripted(Failed(1, "x", "it broke", "mend it")))
    with pytest.raises(RemotePartFailed, match="it broke") as error:
        ask(line, Step(line.number(), 1, 2, 0.1))

    assert error.value.fix == "mend it"


def test_a_direct_line_has_no_link() -> None:
    line = DirectLine(Scripted(None))

    assert line.probe().result() == line.link()
    assert line.link().up is None
    assert line.stats().sent_wire == 0
    line.close()
