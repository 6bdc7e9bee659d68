import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from partita.wire import create_token

SECONDS = 90.0


class Served(NamedTuple):
    """A `partita run-parts --listen` in a process of its own."""

    url: str
    token_file: Path
    child: "subprocess.Popen[str]"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start places; all of them are ended with the test, however it ends."""
    children: list[subprocess.Popen[str]] = []

    def start(*words: str, token: bool = True) -> Served:
        token_file = tmp_path / f"token{len(children)}"
        command = [sys.executable, "-m", "partita", "run-parts", *words, "--listen", "127.0.0.1:0", "--json"]
        if token:
            create_token(token_file)
            command += ["--token-file", str(token_file)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        children.append(child)
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, child.stderr.read() if child.stderr else ""
        return Served(json.loads(line)["url"], token_file, child)

    yield start
    for child in children:
        child.kill()
        child.communicate(timeout=SECONDS)


@pytest.fixture
def run_partita(tmp_path: Path) -> Callable[..., Any]:
    """Run a command in a process of its own: its exit code, its JSON document, its complaints."""

    def run(*words: str) -> Any:
        command = [sys.executable, "-m", "partita", *map(str, words), "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, cwd=tmp_path, check=False
        )
        return done.returncode, json.loads(done.stdout or "null"), done.stderr

    return run


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends within a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if (
            Path(f"/proc/{pid}/stat").exists()
            and Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
        ):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def kill_and_wait() -> Callable[[int, int], bool]:
    """Kill one process and say whether another one ends with it."""

    def kill(killed: int, watched: int) -> bool:
        os.kill(killed, signal.SIGKILL)
        return gone(watched)

    return kill
