"""Kill -9 at random moments on either side of a training: the weights at its end, against those of one left alone.

    python benchmarks/train_kills.py [--kills 20] [--seed 0] [--json FILE]

`partita train edge` in a process of its own, a `partita train cloud` in another. Each kill takes one of them, at a random
step or a random moment of its start; what was killed is started again with the same command, the cloud after a random
pause. One arm is edge|cloud with K = 0, the other edge|cloud|edge with K = 2, int8 and delta memories both ways; the
network has batch norm and dropout on both sides. Each arm has half of the kills. Claims: model.safetensors is the same, byte for byte,
and the trace tells of every step once, with the same losses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partita.train import read_trace
from partita.train.child import LocalCloud, local_cloud

NETWORK = """
from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(8 * 7 * 7, 10))
"""
EPOCHS, SAMPLES, BATCH, EVERY = 5, 640, 16, 7
STEPS = EPOCHS * SAMPLES // BATCH
ARMS = {
    "K = 0": ["--plan", "edge[0:3] -raw/raw-> cloud[3:9] | K=0 batch=16 mode=train"],
    "K = 2, int8, delta": [
        "--plan",
        "edge[0:4] -int8/int8-> cloud[4:8] -int8/int8-> edge[8:9] | K=2 batch=16 mode=train",
        "--feedback",
        "delta",
        "--feedback-down",
        "delta",
    ],
}
# A kill in so many comes while the side that was killed before still starts.
EARLY = 3
LONGEST_START, LONGEST_PAUSE, PATIENCE = 6.0, 2.0, 300.0


@dataclass
class Edge:
    """`partita train edge`, and how far it has come."""

    words: list[str]
    run: Path
    log: Path
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen([*self.words, "--run", str(self.run)], stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    @property
    def over(self) -> bool:
        return self.child is not None and self.child.poll() is not None

    def end(self) -> str:
        """Wait for the end; what it said last, if that was no success."""
        assert self.child is not None
        code = self.child.wait(PATIENCE)
        return "" if code == 0 else f"exit {code}: " + " | ".join(self.log.read_text().splitlines()[-2:])

    def steps(self) -> int:
        """The steps done, as far as the trace tells."""
        try:
            with (self.run / "trace.jsonl").open("rb") as file:
                file.seek(max(file.seek(0, 2) - 8192, 0))
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return 0
        found = [line for line in lines if line.startswith('{"kind":"step"') and line.endswith("}")]
        return json.loads(found[-1])["step"] + 1 if found else 0


def trained(words: list[str], cloud: LocalCloud, folder: Path, arm: list[str]) -> Edge:
    """A training that began."""
    command = [
        *[sys.executable, "-m", "partita", "train", "edge", "--model", f"{folder / 'net.py'}:net"],
        *["--data", "made:digits", "--limit", str(SAMPLES), "--epochs", str(EPOCHS), "--batch-size", str(BATCH)],
        *["--cloud", cloud.url, "--token-file", str(folder / "token"), "--checkpoint-every", str(EVERY)],
        *["--threads", "1", "--patience", str(PATIENCE), *arm, *words],
    ]  # fmt: skip
    edge = Edge(command, folder / "run", folder / "log")
    edge.start()
    return edge


def wait_for(edge: Edge, step: float, seconds: float) -> bool:
    """Wait until the training came so far, or so long; whether it is still on its way."""
    until = time.monotonic() + seconds
    while edge.steps() < step and time.monotonic() < until:
        if edge.over:
            return False
        time.sleep(0.01)
    return not edge.over


def killed(edge: Edge, cloud: LocalCloud, kills: int, rng: random.Random) -> list[dict[str, Any]]:
    """Kill one side after the other; gives what was killed when."""
    sides = ["edge", "cloud"] * ((kills + 1) // 2)
    rng.shuffle(sides)
    found: list[dict[str, Any]] = []
    for number, side in enumerate(sides[:kills]):
        early = number % EARLY == EARLY - 1
        done = edge.steps()
        point = done + 2 * rng.random() * (STEPS - done) / (kills + 1 - number)
        if not wait_for(edge, point, rng.uniform(0, LONGEST_START) if early else PATIENCE):
            break
        time.sleep(rng.uniform(0, 0.02))
        found.append({"side": side, "step": edge.steps(), "early": early})
        if side == "edge":
            edge.kill()
            edge.start()
        else:
            cloud.kill()
            time.sleep(rng.uniform(0, LONGEST_PAUSE))
            cloud.start()
    return found


def compare(name: str, arm: list[str], kills: int, seed: int) -> dict[str, Any]:
    """One arm: a training left alone, and one that is killed again and again."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as hunted:
        edges = []
        deaths: list[dict[str, Any]] = []
        for folder in (Path(alone), Path(hunted)):
            (folder / "net.py").write_text(NETWORK)
            with local_cloud(state=folder / "state") as cloud:
                token = folder / "token"
                token.touch(0o600)
                token.write_text(cloud.token)
                edge = trained([], cloud, folder, arm)
                edges.append(edge)
                try:
                    if edges[1:]:
                        deaths = killed(edge, cloud, kills, random.Random(f"{seed} {name}"))
                    said = edge.end()
                finally:
                    edge.kill()
                if said:
                    return {"arm": name, "kills": deaths, "equal": False, "said": said}
        found = compared(*edges)
    complete = len(deaths) == kills
    return {
        "arm": name,
        "kills": deaths,
        "complete": complete,
        **found,
        "seconds": round(time.monotonic() - began, 1),
    }


def compared(left: Edge, right: Edge) -> dict[str, Any]:
    """What both have in the end."""
    digests = [
        hashlib.sha256((edge.run / "model.safetensors").read_bytes()).hexdigest() for edge in (left, right)
    ]
    traces = [read_trace(edge.run / "trace.jsonl") for edge in (left, right)]
    steps = [[(step.step, step.loss) for step in trace.steps] for trace in traces]
    return {
        "equal": digests[0] == digests[1],
        "digests": digests,
        "told alike": steps[0] == steps[1] and [step for step, _ in steps[0]] == list(range(STEPS)),
        "epochs alike": [e.held_out_loss for e in traces[0].epochs]
        == [e.held_out_loss for e in traces[1].epochs],
        "undone": traces[1].undone,
        "events": {
            what: sum(event.what == what for event in traces[1].events)
            for what in ("resumed", "lost", "back")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = [compare(name, arm, -(-asked.kills // len(ARMS)), asked.seed) for name, arm in ARMS.items()]
    for row in rows:
        sides = [death["side"] for death in row["kills"]]
        early = sum(death["early"] for death in row["kills"])
        told = f"{sides.count('edge')} kills of the edge, {sides.count('cloud')} of the cloud, {early} while starting"
        if "said" in row:
            print(f"{row['arm']}: {told}; FAILED: {row['said']}")
            continue
        print(
            f"{row['arm']}: {told}; weights {'EQUAL' if row['equal'] else 'DIFFERENT'}, steps "
            f"{'told alike' if row['told alike'] else 'TOLD DIFFERENTLY'}; {row['undone']} of {STEPS} steps done again, "
            f"{row['events']}, {row['seconds']:.0f} s"
        )
    if asked.json:
        asked.json.write_text(json.dumps({"seed": asked.seed, "arms": rows}, indent=1) + "\n")
    sys.exit(0 if all(row.get("complete") and row["equal"] and row["told alike"] for row in rows) else 1)


if __name__ == "__main__":
    main()
