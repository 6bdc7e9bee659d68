"""What `wire.py` compares: classes with the same four calls, each a way to move arrays between two processes.

port = await Peer.serve(folder)     in the server's process; the folder has certificates, None is without TLS
await peer.open(port, folder)       in the client's
await peer.echo(array)              there and back
await peer.push(array, count)       there, and one answer at the end
"""

from __future__ import annotations

from .grpc_stream import Grpc
from .partita_wire import Ours
from .pickled import Pickled
from .streams import Streams

__all__ = ["PEERS", "Ours"]

PEERS = {"partita": Ours, "streams": Streams, "grpc": Grpc, "pickled": Pickled}
