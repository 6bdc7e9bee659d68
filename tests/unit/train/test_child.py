import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from partita.errors import ConnectionLost, RemotePartFailed, SessionMisused, Unreachable
from partita.train import child as child_module
from partita.train.child import LocalCloud, LocalLink, local_cloud
from partita.train.line import WireLine, ask
from partita.wire import Encoded, Message, parse_shape

LISTENING = """
import json, sys
print(json.dumps({"url": "ws://127.0.0.1:" + sys.argv[1]}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Children that are a few lines instead of a training cloud."""

    def use(script: str) -> None:
        def command(self: Any, port: int) -> list[str]:
            return [sys.executable, "-c", script, str(port or 4321), str(self.state), self.model or ""]

        monkeypatch.setattr(child_module._Wanted, "command", command)

    return use


def test_a_killed_cloud_comes_back_where_it_was(stand_in: Callable[[str], None], tmp_path: Path) -> None:
    """Another process, the same port and the same folder; without a link it cannot be reshaped."""
    stand_in(LISTENING)
    with local_cloud(state=tmp_path) as cloud:
        before = cloud.pid, cloud.url
        cloud.kill()
        assert not cloud.alive
        cloud.restart()
        assert cloud.alive
        assert (cloud.pid != before[0], cloud.url) == (True, before[1])
        cloud.restart()
        cloud.start()
        with pytest.raises(SessionMisused):
            cloud.reshape(parse_shape("1mbit"))
        last = cloud.pid
    assert gone(last)
    with pytest.raises(SessionMisused):
        _ = cloud.pid


def gone(pid: int) -> bool:
    """Whether a process has ended and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_cloud_that_does_not_end_is_ended(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a moment, by force."""
    monkeypatch.setattr(child_module, "STOP_SECONDS", 0.05)
    stand_in(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + LISTENING
        + "\ntime.sleep(60)"
    )
    with local_cloud() as cloud:
        pid = cloud.pid
    assert gone(pid)


def test_a_cloud_that_cannot_start_says_why(stand_in: Callable[[str], None]) -> None:
    """With its last words, or with its own error."""
    stand_in("import sys; sys.exit('no such model')")
    with pytest.raises(RemotePartFailed, match="no such model"), local_cloud():
        pass
    stand_in('print(\'{"problem": "port taken", "fix": "another"}\')')
    with pytest.raises(RemotePartFailed, match="port taken"), local_cloud():
        pass


def test_a_cloud_that_never_listens_is_given_up(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is left."""
    monkeypatch.setattr(child_module, "READY_SECONDS", 0.05)
    stand_in("import sys; sys.stdin.read()")
    with pytest.raises(Unreachable), local_cloud():
        pass


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins nothing")
def test_a_cloud_is_pinned_to_a_core(stand_in: Callable[[str], None]) -> None:
    """All of its threads inherit that."""
    stand_in(LISTENING)
    core = min(os.sched_getaffinity(0))
    with local_cloud(cpu=core) as cloud:
        assert os.sched_getaffinity(cloud.pid) == {core}


def test_the_command_says_all_that_was_asked(tmp_path: Path) -> None:
    """It is a `partita train cloud` like any other."""
    wanted = child_module._Wanted(
        tmp_path / "t", tmp_path / "l", tmp_path / "s", 2, 8.0, None, "zoo:resnet-tiny"
    )
    words = " ".join(wanted.command(77))

    for part in ("train cloud --listen 127.0.0.1:77", "--threads 2", "--slow 8.0", "--model zoo:resnet-tiny"):
        assert part in words
    assert LocalCloud(wanted, "t").port == 0


@contextmanager
def echoing() -> Iterator[int]:
    """A server that says everything again."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                near, _ = door.accept()
            except OSError:
                return
            with near:
                while data := near.recv(1 << 16):
                    near.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield door.getsockname()[1]
    door.shutdown(socket.SHUT_RDWR)
    door.close()
    thread.join()


def test_a_link_carries_changes_and_breaks() -> None:
    """From any thread, while bytes flow."""
    with echoing() as port:
        link = LocalLink("127.0.0.1", port, parse_shape("100mbit"))
        with socket.create_connection(("127.0.0.1", link.port)) as near:
            near.sendall(b"hello")
            assert near.recv(5) == b"hello"
            link.reshape(parse_shape("50mbit/1ms"))
            near.sendall(b"again")
            assert near.recv(5) == b"again"
            link.cut()
            with suppress(ConnectionResetError):  # an end or a reset, as it comes
                assert near.recv(5) == b""
        link.restore()
        with socket.create_connection(("127.0.0.1", link.port)) as near:
            near.sendall(b"hello")
            assert near.recv(5) == b"hello"
        assert link.bytes == (15, 15)
        link.close()


class Far:
    """A room behind a line, for an edge that thinks it is here."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.line = WireLine(cloud.url, token=cloud.token)

    def answer(
        self, message: Message, tensors: Mapping[str, Encoded]
    ) -> tuple[Message, Mapping[str, Encoded]]:
        """Over the wire and back."""
        reply = ask(self.line, message, tensors)
        return reply.message, reply.tensors


def test_a_killed_cloud_goes_on_from_its_checkpoint(
    edge_at: Callable[..., Any], unsplit: Any, tmp_path: Path
) -> None:
    """A real process behind a link, killed in the middle: the final weights are those of an unsplit training."""
    plan = "edge[0:4] -raw/raw-> cloud[4:7] | mode=train"
    with local_cloud(state=tmp_path, link=parse_shape("100mbit/1ms")) as cloud:
        edge = edge_at(Far(cloud))
        edge.change(plan)
        edge.step(0)
        edge.save(1)
        kept = edge.holding.export(sorted(edge.owned))
        edge.step(1)
        cloud.restart()
        with pytest.raises(ConnectionLost):
            edge.step(2)
        edge.room.line.close()
        edge.room = Far(cloud)
        assert edge.begin().steps == (1,)
        edge.holding.take(sorted(edge.owned), kept)
        edge.recall(1, plan)
        for step in range(1, 4):
            edge.step(step)
        weights = edge.gather()
        edge.room.line.close()

    assert all((value == unsplit(4)[1][name]).all() for name, value in weights.items())
    assert json.dumps([path.name for path in tmp_path.iterdir()]).count("0123456789abcdef0123") == 0
