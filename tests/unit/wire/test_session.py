import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partita.errors import ConnectionLost, FrameCorrupt, FrameTooLarge, ProtocolViolation, SessionMisused
from partita.wire.codec import decode, parse_codec
from partita.wire.frame import VERSION, Frame, FrameKind, FrameReader
from partita.wire.limits import Limits
from partita.wire.message import (
    SESSION,
    WORK,
    Ack,
    Close,
    Credit,
    Drop,
    Forward,
    Hello,
    Ping,
    Pong,
    Probe,
    Welcome,
)
from partita.wire.session import Session
from partita.wire.session_event import Closed, Corrupted, Opened, Received, Settings, Stale
from partita.wire.session_state import TURNS, SessionState, Step

ID = "0123456789abcdef" * 2
RAW = parse_codec("raw")


def tensors(size, fill=0.0):
    return {"x": RAW.encode(np.full(size, fill, np.float32))}


def session_bytes(message):
    header = SESSION.encode(message)
    return b"".join(Frame(FrameKind.SESSION, 0, 0, True, len(header), 0, (header,), len(header)).encode())


def work_frame(seq=1, **changes):
    header = WORK.encode(Drop(1, "p"))
    fields = {"kind": FrameKind.START, "channel": 0, "seq": seq, "last": True, "header_length": len(header)}
    fields |= {"body_length": 0, "payload": (header,), "size": len(header)} | changes
    return b"".join(Frame(**fields).encode())


class Two:
    """Two sessions and the bytes between them, on one made-up clock."""

    def __init__(self, options=None, server_options=None):
        self.now = 0.0
        self.client = Session(ID, options)
        self.server = None
        self.server_options = server_options or options
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
        self.server = self.server or Session(message.session, self.server_options, now=self.now)
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


@pytest.fixture
def two():
    pair = Two()
    pair.settle()
    return pair


def test_greeting_opens_both_sides(two):
    """After Hello and Welcome both sides are open."""
    assert two.events["client"] == [Opened(resumed=False)]
    assert two.client.state is two.server.state is SessionState.OPEN


def test_a_message_arrives_whole(two):
    """Tensors come out as they went in, over many chunks."""
    two.client.send(Forward(1, "p"), tensors(500_000, 2.5))
    two.settle()
    (event,) = two.events["server"]

    assert event.message == Forward(1, "p")
    assert np.array_equal(decode(event.tensors["x"]), np.full(500_000, 2.5, np.float32))


def test_control_goes_first(two):
    """A control message passes the tensors that wait."""
    two.client.send(Forward(1, "p"), tensors(500_000))
    two.client.send(Drop(2, "p"))
    two.settle()

    assert two.requests() == [2, 1]


def test_tensor_channels_take_turns(two):
    """A small message on another channel does not wait for a large one to end."""
    two.client.send(Forward(1, "p"), tensors(500_000))
    two.client.send(Forward(2, "p"), tensors(1000), channel=2)
    two.settle()

    assert two.requests() == [2, 1]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_exactly_once_in_order_over_cuts(data):
    """Whatever is sent arrives once and in the order of its channel, however often the connection breaks."""
    pair = Two()
    pair.settle()
    sent = {0: [], 1: [], 2: []}
    number = 0
    for _ in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["send", "send", "step", "cut", "half"]))
        if action == "send":
            number += 1
            channel = data.draw(st.sampled_from([0, 1, 2]))
            size = data.draw(st.sampled_from([0, 10, 5000, 60_000]))
            pair.client.send(
                Forward(number, "p"), tensors(size, number) if channel else None, channel=channel
            )
            sent[channel].append(number)
        elif action == "step":
            for _ in range(data.draw(st.integers(1, 20))):
                pair.step()
        elif action == "half":
            chunk = pair.client.next_chunk(pair.now)
            if chunk and pair.greeted:
                whole = b"".join(chunk)
                pair.to_server(whole[: data.draw(st.integers(1, len(whole)))])
            pair.cut()
            pair.connect()
        else:
            pair.cut()
            pair.connect()
    pair.settle()

    assert {channel: pair.requests(channel=channel) for channel in sent} == sent
    received = [e for e in pair.events["server"] if isinstance(e, Received) and e.tensors]
    assert all((decode(e.tensors["x"]) == e.message.request).all() for e in received)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200_000)), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_credit_is_never_exceeded(plan):
    """At no moment has a side sent more on a channel than the other allowed."""
    pair = Two()
    pair.settle()
    for number, (channel, size) in enumerate(plan):
        pair.client.send(Forward(number, "p"), tensors(size // 4) if channel else None, channel=channel)
    while pair.step():
        for ours, theirs in zip(pair.client._outbox.credits, pair.server._inbox.credits, strict=True):
            assert ours.sent <= ours.limit <= theirs.granted
    pair.settle()

    assert sorted(pair.requests()) == list(range(len(plan)))


def test_duplicates_are_dropped(two):
    """A frame that comes twice is delivered once."""
    frame = work_frame()
    two.to_server(frame)
    two.to_server(frame)

    assert two.requests() == [1]


def test_both_sides_resume(two):
    """What was unacknowledged is said again on the next connection, in both directions."""
    two.client.send(Forward(1, "p"), tensors(100_000))
    two.server.send(Forward(2, "p"), tensors(100_000))
    two.step()
    two.cut()
    two.connect()
    two.settle()

    assert (two.requests(), two.requests("client")) == ([1], [2])
    assert two.events["client"][1] == Opened(resumed=True)


def test_a_rewound_peer_can_not_resume(two):
    """A side that forgot what it had confirmed is refused: data would be missing."""
    two.client.send(Drop(1, "p"))
    two.settle()
    two.cut()
    two.client.connected(two.now)
    with pytest.raises(ConnectionLost, match="remembers 0 frames"):
        two.client.receive_data(session_bytes(Welcome(VERSION, ID, True, 0, {})), two.now)


def test_the_server_refuses_a_rewound_client(two):
    """The same from the other side."""
    two.server.send(Drop(1, "p"))
    two.settle()
    two.cut()
    with pytest.raises(ConnectionLost, match="remembers"):
        two.server.accepted(Hello(VERSION, ID, True, 0, {}), FrameReader(Limits()), two.now)


def test_an_answer_for_another_session_is_refused():
    """A Welcome names the session it welcomes."""
    client = Session(ID)
    client.connected(0.0)
    with pytest.raises(ProtocolViolation, match="instead of"):
        client.receive_data(session_bytes(Welcome(VERSION, "f" * 32, False, 0, {})), 0.0)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (work_frame(seq=3), ProtocolViolation, "seq: frame 3 follows frame 0"),
        (
            work_frame(kind=FrameKind.CONTINUATION, header_length=0),
            ProtocolViolation,
            "without a message to continue",
        ),
        (work_frame(body_length=5000, size=5000, last=False, payload=(bytes(5000),)), None, ""),
        (session_bytes(Ack(9)), ProtocolViolation, "ack seq: 9 was never sent"),
        (session_bytes(Credit(99, 1, 1)), ProtocolViolation, "credit channel: 99"),
        (
            session_bytes(Hello(1, ID, False, 0, {})),
            ProtocolViolation,
            "Hello: not expected while the session is open",
        ),
    ],
)
def test_broken_rules_are_named(two, data, error, text):
    """Each rule of the conversation has its refusal."""
    if error is None:
        two.to_server(data)
        with pytest.raises(ProtocolViolation, match="inside another message"):
            two.to_server(work_frame(seq=2))
        return
    with pytest.raises(error, match=text):
        two.to_server(data)


def test_a_message_that_overflows_is_refused(two):
    """Chunks that hold more than the message announced are refused at the chunk that does."""
    two.to_server(work_frame(body_length=5000, size=5000, last=False, payload=(bytes(5000),)))
    with pytest.raises(ProtocolViolation, match="bytes of a message of"):
        two.to_server(
            work_frame(
                seq=2,
                kind=FrameKind.CONTINUATION,
                header_length=0,
                size=9000,
                payload=(bytes(9000),),
                last=True,
            )
        )


def test_a_message_that_ends_early_is_refused(two):
    """So is a last chunk that leaves bytes missing."""
    two.to_server(work_frame(body_length=90_000, size=5000, last=False, payload=(bytes(5000),)))
    with pytest.raises(ProtocolViolation, match="at its last chunk"):
        two.to_server(
            work_frame(seq=2, kind=FrameKind.CONTINUATION, header_length=0, size=9, payload=(bytes(9),))
        )


def test_bytes_beyond_credit_are_refused(two):
    """A sender that ignores its window is stopped by the receiver."""
    big = 70 << 10
    with pytest.raises(FrameTooLarge, match="credit was given for"):
        two.to_server(work_frame(body_length=1 << 20, size=big, last=False, payload=(bytes(big),)))


def test_work_before_the_greeting_is_refused():
    """Nothing but the greeting is taken before it."""
    client = Session(ID)
    client.connected(0.0)
    with pytest.raises(ProtocolViolation, match="work before the greeting"):
        client.receive_data(work_frame(), 0.0)


def test_nothing_is_read_after_close(two):
    """Frames behind a Close are not looked at."""
    two.client.receive_data(session_bytes(Close("done")) + work_frame(seq=77), two.now)

    assert two.client.state is SessionState.CLOSED


def test_corruption_asks_for_another_connection(two):
    """Bytes that were changed on the way end the connection, not the session."""
    two.client.send(Drop(1, "p"))
    data = bytearray(b"".join(two.client.next_chunk(two.now)))
    data[-1] ^= 1
    (event,) = two.server.receive_data(data, two.now)
    two.cut()
    two.connect()
    two.settle()

    assert isinstance(event, Corrupted)
    assert two.requests() == [1]


def test_corruption_before_the_greeting_is_an_error():
    """There is no session yet that could be resumed."""
    client = Session(ID)
    client.connected(0.0)
    data = bytearray(session_bytes(Welcome(VERSION, ID, False, 0, {})))
    data[-1] ^= 1
    with pytest.raises(FrameCorrupt):
        client.receive_data(data, 0.0)


def test_silence_is_noticed(two):
    """A connection on which nothing comes is called stale after the idle timeout."""
    due = two.now + two.client.settings.idle_timeout
    assert two.client.tick(due - 0.1) == []
    (event,) = two.client.tick(due)

    assert isinstance(event, Stale)


def test_heartbeats_measure_the_round_trip(two):
    """Pings go on time and their answers are counted."""
    due = two.client.next_timeout()
    two.now = due
    two.client.tick(two.now)
    two.settle()

    assert 0 <= two.client.link().rtt < 0.01
    assert two.client.peak(two.now).rtt is not None


def test_a_pong_nobody_asked_for_is_ignored(two):
    """It measures nothing and harms nothing."""
    before = two.client.link()

    assert two.client.receive_data(session_bytes(Pong(99)), two.now) == []
    assert two.client.link() == before


def test_pings_are_answered(two):
    """A Ping gets a Pong of its number."""
    two.client.receive_data(session_bytes(Ping(42)), two.now)
    (frame,) = FrameReader(Limits()).feed(b"".join(two.client.next_chunk(two.now)))

    assert SESSION.decode(b"".join(frame.payload))[0] == Pong(42)


def test_the_receiver_measures_and_the_sender_learns(two):
    """Both sides know the rate of what went from one to the other, by the receiver's clock."""
    for number in range(4):
        two.client.send(Forward(number, "p"), tensors(200_000))
    two.settle()

    assert two.client.link().up == two.server.link().down > 0
    assert two.client.peak(two.now).up >= two.client.link().up


def test_a_detached_session_gives_up_in_the_end(two):
    """Nobody waits for ever for a client that does not return."""
    two.cut()
    due = two.server.next_timeout()

    assert two.server.tick(due - 0.1) == []
    (event,) = two.server.tick(due)
    assert isinstance(event, Closed)
    assert event.code == "not-resumed"
    assert two.server.next_timeout() is None
    assert two.server.tick(due + 1) == []


def test_a_greeting_that_never_comes_is_stale():
    """The idle timeout also holds while the session opens."""
    client = Session(ID)
    client.connected(0.0)

    assert isinstance(client.tick(client.next_timeout())[0], Stale)


def test_close_tells_the_other_side(two):
    """The last chunk carries the reason."""
    two.client.close("done", "finished")
    two.step()

    assert two.events["server"] == [Closed("done", "finished")]
    with pytest.raises(SessionMisused, match="sends nothing"):
        two.client.send(Drop(1, "p"))


def test_a_session_that_never_opened_can_be_closed():
    """There is nobody to tell."""
    client = Session(ID)
    client.close()

    assert client.next_chunk(0.0) is None


def test_probes_are_answered_by_the_session(two):
    """The application of the probed side sees nothing of them."""
    two.client.send(Probe(1, 100_000), tensors(10))
    two.settle()

    assert two.events["server"] == []
    assert two.events["client"][-1].message == Probe(1, 0)


def test_a_probe_is_not_answered_behind_other_work(two):
    """A queue in front of the answer would make it measure the queue."""
    two.server.send(Forward(1, "p"), tensors(500_000))
    two.client.send(Probe(1, 100_000), tensors(10))
    two.step(down=False)
    two.settle()

    assert Probe(1, 0) not in [e.message for e in two.events["client"] if isinstance(e, Received)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((Drop(1, "p"), None, 99), "channel: 99"),
        ((Drop(1, "p"), {"x": RAW.encode(np.zeros((1,) * 17))}, 1), "17 dimensions"),
        ((Drop(1, "p" * 2000), None, 0), "a header of"),
        ((Drop(1, "p"), tensors(5000), 1), "a body of 20000 bytes"),
    ],
)
def test_what_the_other_side_would_refuse_is_refused_here(arguments, text):
    """The limits hold on the way out too, as this side's mistake."""
    session = Session(ID, Settings(limits=Limits(max_header=1000, max_body=10_000)))
    message, carried, channel = arguments
    with pytest.raises(SessionMisused, match=text):
        session.send(message, carried, channel=channel)


def test_buffers_must_fit_their_head():
    """A tensor whose buffers do not have the length its head says is not sent."""
    good = RAW.encode(np.zeros(4, np.float32))
    bad = type(good)(good.head, (bytes(15),))
    with pytest.raises(SessionMisused, match="'x': buffers of"):
        Session(ID).send(Drop(1, "p"), {"x": bad})


def test_unread_messages_stop_the_credit():
    """What the application does not take is bounded; taking it lets the sender go on."""
    options = Settings(limits=Limits(max_held=100_000, max_retained=1 << 20))
    pair = Two(options)
    pair.settle()
    pair.released = False
    for number in range(20):
        pair.client.send(Forward(number, "p"), tensors(10_000))
    while pair.step():
        pass
    held = pair.server.held
    events, pair.released = list(pair.events["server"]), True
    for event in events:
        pair.server.release(event.size)
    pair.settle()

    assert held < 300_000
    assert pair.requests() == list(range(20))


def test_sending_waits_for_acks():
    """Not more than max_retained is kept for saying it again."""
    pair = Two(Settings(limits=Limits(max_retained=50_000)))
    pair.settle()
    pair.client.send(Forward(1, "p"), tensors(100_000))
    while pair.step(down=False):
        assert pair.client._outbox.retained <= 50_000 + (64 << 10)
    pair.settle()

    assert pair.requests() == [1]
    assert pair.client.queued(1) == 0


def test_steps_outside_the_table_are_refused():
    """A session can not be connected twice."""
    client = Session(ID)
    client.connected(0.0)
    with pytest.raises(SessionMisused, match="'connect' is not possible while it is opening"):
        client.connected(0.0)


def test_the_table_has_no_dead_ends():
    """Every state but CLOSED can be left, and every state can be closed."""
    leavable = {state for (state, step), after in TURNS.items() if after is not state}

    assert leavable == set(SessionState) - {SessionState.CLOSED}
    assert all(TURNS[state, Step.CLOSE] is SessionState.CLOSED for state in SessionState)


def test_an_acknowledged_repeat_is_not_said_again(two):
    """Frames that are confirmed while they wait to be repeated are dropped from the queue."""
    for number in range(5):
        two.client.send(Drop(number, "p"))
    while two.step(down=False):
        pass
    two.client.disconnected(two.now)
    two.client.connected(two.now)
    two.client.receive_data(session_bytes(Welcome(VERSION, ID, True, 2, {0: 1 << 20, 77: 5})), two.now)
    two.client.receive_data(session_bytes(Ack(4)), two.now)
    left = []
    while chunk := two.client.next_chunk(two.now):
        left += [f.seq for f in FrameReader(Limits()).feed(b"".join(chunk)) if f.seq]

    assert left == [5]


def test_a_flood_of_pings_is_refused(two):
    """Answers are not held back by credit, so their number has a bound of its own."""
    with pytest.raises(ProtocolViolation, match="1024 answers wait"):
        two.client.receive_data(b"".join(session_bytes(Ping(number)) for number in range(1025)), two.now)


def test_a_damaged_hello_is_said_again(two):
    """A server that could not read the Hello of a resumption is tried once more, not believed for good."""
    two.cut()
    two.client.connected(two.now)
    (event,) = two.client.receive_data(session_bytes(Close("frame-corrupt", "payload")), two.now)

    assert event == Corrupted("payload")
    assert two.client.state is SessionState.OPENING


def test_an_application_may_read_while_the_connection_is_gone(two):
    """What arrived before the cut can be taken; credit for it is given after the next greeting."""
    two.released = False
    two.client.send(Forward(1, "p"), tensors(10_000))
    two.settle()
    two.cut()
    two.server.ping()
    two.server.release(two.events["server"][-1].size)

    assert two.server.held == 0
    assert two.server.next_chunk(two.now) is None


def test_nothing_is_due_while_a_greeting_is_awaited_in_time():
    """A tick before the idle timeout does nothing."""
    client = Session(ID)
    client.connected(0.0)

    assert client.tick(1.0) == []
