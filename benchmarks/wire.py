"""How fast the wire is, beside plain asyncio streams, gRPC and pickled sockets; and what a slow link leaves of it.

    python benchmarks/wire.py [--json FILE] [--rounds 5] [--quick]

Each peer runs in two processes. Rounds alternate between the peers, numbers are medians, and what to trust are the
ratios. "pickled" does what the original research project did: concatenated pickles with ASCII markers in between, and a
receiver that searches the growing buffer for the marker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers import PEERS, Ours

from partita.wire import Drop, Forward, ShapedLink, decode, init_ca, issue, parse_shape

SIZES = {"100 KB": 100_000, "4 MB": 4 << 20, "64 MB": 64 << 20}


def array_of(size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(size // 4, dtype=np.float32)


async def serve(peer: str, folder: Path | None) -> None:
    print(await PEERS[peer].serve(folder), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # what a server of a benchmark leaves behind is the kernel's to clean up


# -- measuring --------------------------------------------------------------------------------------------------------


class Server:
    """A peer's server in a process of its own, for as long as the block lasts."""

    def __init__(self, peer: str, folder: Path | None) -> None:
        command = [sys.executable, __file__, "--serve", peer, *(["--certs", str(folder)] if folder else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def measured(peer: str, port: int, folder: Path | None, size: int, repeat: int) -> tuple[float, float]:
    """Seconds of an echo (median) and of one pushed message."""
    client, array = PEERS[peer](), array_of(size)
    await client.open(port, folder)
    for _ in range(3):
        await client.echo(array)
    echoes = []
    for _ in range(repeat):
        start = time.perf_counter()
        await client.echo(array)
        echoes.append(time.perf_counter() - start)
    await client.push(array, 2)
    start = time.perf_counter()
    await client.push(array, repeat)
    pushed = (time.perf_counter() - start) / repeat
    await client.close()
    return statistics.median(echoes), pushed


async def compare(folder: Path | None, rounds: int, sizes: dict[str, int]) -> list[dict]:
    servers = {peer: Server(peer, folder) for peer in PEERS}
    rows = []
    try:
        for name, size in sizes.items():
            repeat = max(4, min(100, (96 << 20) // size))
            # What a marker search costs grows with the square of the size: a 64 MB message takes it half a minute.
            peers = [peer for peer in PEERS if peer != "pickled" or size <= 8 << 20]
            samples: dict[str, list] = {peer: [] for peer in peers}
            for _ in range(rounds):
                for peer in peers:
                    samples[peer].append(await measured(peer, servers[peer].port, folder, size, repeat))
            echo = {peer: statistics.median(s[0] for s in samples[peer]) for peer in peers}
            push = {peer: statistics.median(s[1] for s in samples[peer]) for peer in peers}
            rows += [
                {
                    "link": "mTLS" if folder else "plain",
                    "size": name,
                    "peer": peer,
                    "echo_ms": echo[peer] * 1e3,
                    "echo_MBps": 2 * size / echo[peer] / 1e6,
                    "push_MBps": size / push[peer] / 1e6,
                    "echo_vs_streams": echo["streams"] / echo[peer],
                    "push_vs_streams": push["streams"] / push[peer],
                }
                for peer in peers
            ]
            for row in rows[-len(peers) :]:
                show(row)
    finally:
        for server in servers.values():
            server.close()
    return rows


def show(row: dict) -> None:
    print(
        f"{row['link']:5}  {row['size']:>6}  {row['peer']:8}  echo {row['echo_ms']:9.2f} ms  {row['echo_MBps']:7.0f} MB/s"
        f"  ({row['echo_vs_streams']:4.2f}x streams)   push {row['push_MBps']:7.0f} MB/s"
        f"  ({row['push_vs_streams']:4.2f}x)",
        flush=True,
    )


async def slow_link(text: str, seconds: float) -> dict:
    """Saturate a shaped link with 1 MB tensors and keep a heartbeat beside them."""
    server = Server("partita", None)
    beats: list[float] = []
    try:
        async with ShapedLink("127.0.0.1", server.port, parse_shape(text)) as link:
            client = Ours()
            await client.open(link.port, None)
            connection, array = client.connection, array_of(1 << 20)
            until = time.perf_counter() + seconds

            async def push() -> None:
                while time.perf_counter() < until:
                    await connection.send(Forward(0, "push"), {"x": array})

            async def beat() -> None:
                while time.perf_counter() < until:
                    start = time.perf_counter()
                    await connection.send(Drop(0, "beat"))
                    await connection.receive()
                    beats.append(time.perf_counter() - start)
                    await asyncio.sleep(0.05)

            await asyncio.gather(push(), beat())
            await connection.send(Drop(1, "told"), channel=1)
            _, tensors = await connection.receive()
            told = decode(tensors["told"])
            estimate = connection.link()
            await client.close()
    finally:
        server.close()
    beats = sorted(beats[len(beats) // 5 :])
    row = {
        "link": text,
        "payload_mbps": float(told[0] * 8 / told[1] / 1e6),
        "beat_median_ms": statistics.median(beats) * 1e3,
        "beat_p95_ms": beats[int(len(beats) * 0.95)] * 1e3,
        "estimate_up_mbps": (estimate.up or 0) * 8 / 1e6,
    }
    print(
        f"{text}: {row['payload_mbps']:.2f} Mbit/s of payload, heartbeat {row['beat_median_ms']:.0f} ms "
        f"(p95 {row['beat_p95_ms']:.0f}), estimated {row['estimate_up_mbps']:.2f} Mbit/s"
    )
    return row


def goals(rows: list[dict], slow: dict) -> dict[str, bool]:
    """What the wire promises."""
    plain = {(row["size"], row["peer"]): row for row in rows if row["link"] == "plain"}
    ours = plain["4 MB", "partita"]
    return {
        "4 MB echo at least 0.7 of plain streams": ours["echo_vs_streams"] >= 0.7,
        "4 MB push at least 0.7 of plain streams": ours["push_vs_streams"] >= 0.7,
        "never slower than pickled sockets": all(
            mine["echo_ms"] <= row["echo_ms"] and mine["push_MBps"] >= row["push_MBps"]
            for row in rows
            if row["peer"] == "pickled"
            for mine in rows
            if (mine["link"], mine["size"], mine["peer"]) == (row["link"], row["size"], "partita")
        ),
        "10 Mbit/s: at least 9.3 of payload": slow["payload_mbps"] >= 9.3,
        "10 Mbit/s: heartbeat under 50 ms": slow["beat_median_ms"] < 50,
    }


async def bench(options: argparse.Namespace) -> None:
    sizes = dict(list(SIZES.items())[:2]) if options.quick else SIZES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        init_ca(folder)
        issue(folder, "server", hosts=["127.0.0.1"])
        issue(folder, "client", purpose="client")
        rows = await compare(None, options.rounds, sizes) + await compare(folder, options.rounds, sizes)
    slow = [await slow_link(text, 8) for text in ("10mbit", "10mbit/20ms", "20mbit/40ms/1%")]
    reached = goals(rows, slow[0])
    for goal, met in reached.items():
        print(f"{'met   ' if met else 'MISSED'}  {goal}")
    if options.json:
        machine = {
            "python": platform.python_version(),
            "system": platform.platform(),
            "rounds": options.rounds,
        }
        document = {"machine": machine, "rows": rows, "slow": slow, "goals": reached}
        options.json.write_text(json.dumps(document, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="without the 64 MB tensors")
    parser.add_argument("--serve", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--certs", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    asyncio.run(serve(options.serve, options.certs) if options.serve else bench(options))


if __name__ == "__main__":
    main()
