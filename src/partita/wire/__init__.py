"""How tensors travel: messages, frames, codecs, sessions (all pure), and the carriers that move their bytes.

    async def work(connection):                      # runs once per session
        async for message, tensors in connection: ...

    server = await listen("ws://127.0.0.1:7077", work)
    connection = await connect(server.url)

From the bottom up: limits, message, frame, codec*, memory* | meter, flow, assembly, inbox, outbox, session* |
channel (the contract), channel_peer, channel_client, channel_hub and one file per carrier | access, certificate |
shape, shaper (slow links on purpose).
"""

from __future__ import annotations

from .access import Tls, check_bind, create_token, is_loopback, read_token, token_matches
from .certificate import Issued, init_ca, issue
from .channel import Connection, Delivery, Pipe, PipeEnded, Stats, Tensors
from .channel_asgi import WireApp
from .channel_client import Dial, open_connection
from .channel_hub import Handler, Hub, HubLimits
from .channel_memory import memory_pipes
from .channel_server import HttpAnswer, HttpHandler
from .channel_url import Listener, connect, listen
from .codec import Codec, decode, encode, parse_codec
from .codec_head import Encoded, TensorHead
from .limits import Limits
from .memory import DeltaMemory, ResidualMemory
from .message import (
    WORK,
    Backward,
    Count,
    Drop,
    Failed,
    Fetch,
    Forward,
    Load,
    Loaded,
    Message,
    Name,
    Ping,
    Result,
    Seconds,
    Sentence,
    State,
    Vocabulary,
)
from .meter import LinkEstimate
from .session import Session
from .session_event import Settings
from .shape import LinkShape, parse_shape
from .shaper import ShapedLink

__all__ = [
    "WORK",
    "Backward",
    "Codec",
    "Connection",
    "Count",
    "Delivery",
    "DeltaMemory",
    "Dial",
    "Drop",
    "Encoded",
    "Failed",
    "Fetch",
    "Forward",
    "Handler",
    "HttpAnswer",
    "HttpHandler",
    "Hub",
    "HubLimits",
    "Issued",
    "Limits",
    "LinkEstimate",
    "LinkShape",
    "Listener",
    "Load",
    "Loaded",
    "Message",
    "Name",
    "Ping",
    "Pipe",
    "PipeEnded",
    "ResidualMemory",
    "Result",
    "Seconds",
    "Sentence",
    "Session",
    "Settings",
    "ShapedLink",
    "State",
    "Stats",
    "TensorHead",
    "Tensors",
    "Tls",
    "Vocabulary",
    "WireApp",
    "check_bind",
    "connect",
    "create_token",
    "decode",
    "encode",
    "init_ca",
    "is_loopback",
    "issue",
    "listen",
    "memory_pipes",
    "open_connection",
    "parse_codec",
    "parse_shape",
    "read_token",
    "token_matches",
]
