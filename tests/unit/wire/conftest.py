"""What several files here stand on: a fleet's certificates, loops with patience, and two sessions with a clock.

What makes things (bytes, tensors, pairs) is a fixture that returns a function, so that one test can ask for several.
"""

import asyncio

import numpy as np
import pytest

from partita.wire import Tls, connect, init_ca, issue
from partita.wire.codec import parse_codec
from partita.wire.frame import Frame, FrameKind, FrameReader
from partita.wire.limits import Limits
from partita.wire.message import SESSION, WORK, Drop, Result
from partita.wire.session import Session
from partita.wire.session_event import Received


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    """A folder with a CA, a server, a client, and certificates that have expired."""
    folder = tmp_path_factory.mktemp("fleet")
    init_ca(folder)
    issue(folder, "server", hosts=["127.0.0.1", "localhost"])
    issue(folder, "client", purpose="client")
    issue(folder, "old-server", hosts=["127.0.0.1"], days=-2)
    issue(folder, "old-client", purpose="client", days=-2)
    issue(folder, "elsewhere", hosts=["example.org"])
    stranger = tmp_path_factory.mktemp("stranger")
    init_ca(stranger)
    issue(stranger, "client", purpose="client")
    (folder / "stranger.pem").write_bytes((stranger / "client.pem").read_bytes())
    (folder / "stranger.key").write_bytes((stranger / "client.key").read_bytes())
    (folder / "other-ca.pem").write_bytes((stranger / "ca.pem").read_bytes())
    return folder


@pytest.fixture
def tls(fleet):
    """TLS settings by the name of a certificate (None shows none), with or without trust in the fleet's CA."""

    def make(name=None, ca="ca.pem"):
        shown = (fleet / f"{name}.pem", fleet / f"{name}.key") if name else (None, None)
        return Tls(*shown, fleet / ca if ca else None)

    return make


@pytest.fixture
def run():
    """Run a coroutine function in a loop of its own, with a bound on its patience."""

    def runner(main, *args, seconds=20):
        async def bounded():
            async with asyncio.timeout(seconds):
                return await main(*args)

        return asyncio.run(bounded())

    return runner


@pytest.fixture(scope="session")
def is_served():
    """Whether a good client gets its answer from a server of echoes."""

    async def ask(url, **options):
        good = await connect(url, **options)
        await good.send(Drop(1, "p"))
        answer, _ = await good.receive()
        await good.close()
        return answer == Result(1)

    return ask


@pytest.fixture(scope="session")
def tensors():
    """One float32 tensor of some size, encoded."""

    def make(size, fill=0.0):
        return {"x": parse_codec("raw").encode(np.full(size, fill, np.float32))}

    return make


@pytest.fixture(scope="session")
def session_bytes():
    """A message of the session as the bytes of its frame."""

    def make(message):
        header = SESSION.encode(message)
        frame = Frame(FrameKind.SESSION, 0, 0, True, len(header), 0, (header,), len(header))
        return b"".join(frame.encode())

    return make


@pytest.fixture(scope="session")
def work_frame():
    """The bytes of a frame that drops request 1, with whatever is to be wrong with it."""

    def make(seq=1, **changes):
        header = WORK.encode(Drop(1, "p"))
        fields = {
            "kind": FrameKind.START,
            "channel": 0,
            "seq": seq,
            "last": True,
            "header_length": len(header),
        }
        fields |= {"body_length": 0, "payload": (header,), "size": len(header)} | changes
        return b"".join(Frame(**fields).encode())

    return make


class Two:
    """Two sessions and the bytes between them, on one made-up clock."""

    def __init__(self, settings=None):
        self.now = 0.0
        self.settings = settings
        self.client = Session("0123456789abcdef" * 2, settings)
        self.server = None
        self.events = {"client": [], "server": []}
        self.released = True
        self.connect()

    def connect(self):
        self.client.connected(self.now)
        self.reader = FrameReader(Limits())
        self.greeted = False

    def cut(self):
        for side in (self.client, self.server):
            if side is not None:
                side.disconnected(self.now)

    def to_server(self, data):
        if self.greeted:
            self.note("server", self.server.receive_data(data, self.now))
            return
        hello, *rest = self.reader.feed(data)
        message, _ = SESSION.decode(b"".join(hello.payload))
        self.server = self.server or Session(message.session, self.settings, now=self.now)
        self.server.accepted(message, self.reader, self.now)
        self.greeted = True
        self.note("server", self.server.receive_frames(rest, self.now))

    def note(self, side, events):
        self.events[side] += events
        for event in events:
            if isinstance(event, Received) and self.released:
                getattr(self, side).release(event.size)

    def step(self, up=True, down=True):
        """Carry at most one chunk each way; False if there was nothing."""
        self.now += 0.001
        sent = self.client.next_chunk(self.now) if up else None
        if sent:
            self.to_server(b"".join(sent))
        back = self.server.next_chunk(self.now) if down and self.greeted else None
        if back:
            self.note("client", self.client.receive_data(b"".join(back), self.now))
        return bool(sent or back)

    def settle(self, rounds=100_000):
        """Carry everything, and let delayed acks fall due."""
        for _ in range(rounds):
            if not self.step():
                for name in ("client", "server"):
                    self.note(name, getattr(self, name).tick(self.now))
                if self.client.idle and self.server.idle and not self.step():
                    return
        raise AssertionError("the conversation does not come to rest")

    def requests(self, side="server", channel=None):
        got = [e for e in self.events[side] if isinstance(e, Received)]
        return [e.message.request for e in got if channel in (None, e.channel)]


@pytest.fixture(scope="session")
def settled():
    """Two sessions that have greeted each other, with settings of one's own."""

    def make(settings=None):
        pair = Two(settings)
        pair.settle()
        return pair

    return make


@pytest.fixture
def two(settled):
    """Two sessions that have greeted each other, with the usual settings."""
    return settled()
