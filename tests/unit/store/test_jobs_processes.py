"""Several processes on one table: a race for its jobs, and processes that are killed in the middle."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from partita.store import Job, JobTable

CLAIMING = """
import sys
from pathlib import Path
from partita.store import JobTable
table = JobTable(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while job := table.claim(sys.argv[2], now=0.0, lease=99.0):
    print(job.id)
"""

WORKER = """
import sys, time
from pathlib import Path
from partita.store import JobTable
table = JobTable(Path(sys.argv[1]))
job = table.claim("doomed", now=0.0, lease=10.0)
table.progress(job.id, "doomed", {"share": 0.5}, now=1.0)
print(job.id, flush=True)
time.sleep(60)
"""

WRITING = """
import sys
from pathlib import Path
from partita.store import JobTable
table = JobTable(Path(sys.argv[1]))
n = 0
while True:
    job = table.enqueue("prune", {"n": n, "padding": "x" * 20000}, now=float(n))
    print(job.id, flush=True)
    n += 1
"""


def claimed_by_all(path: Path, count: int) -> list[list[str]]:
    """What each of so many processes claims, when all are ready before the first one starts."""
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CLAIMING, str(path), f"w{n}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for n in range(count)
        ]
        for racer in racers:
            stack.callback(racer.kill)
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return [racer.communicate(timeout=60)[0].split() for racer in racers]


def test_four_processes_claim_each_job_exactly_once(table: JobTable, tmp_path: Path) -> None:
    """They start together and race for all of them."""
    asked = [table.enqueue("prune", {"n": n}, now=0.0, tenant=f"t{n % 3}") for n in range(60)]

    claimed = claimed_by_all(tmp_path / "jobs.db", 4)

    assert sorted(job for part in claimed for job in part) == sorted(job.id for job in asked)
    assert {table.get(job.id).attempts for job in asked} == {1}


def states(table: JobTable, job: Job) -> list[object]:
    return [event.body.get("state") for event in table.events(job.id)]


def killed_after(script: str, path: Path, lines: int) -> list[str]:
    """Run a process until it has said so many lines, and kill it where it is."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline().strip() for _ in range(lines)]
        finally:
            process.send_signal(signal.SIGKILL)
            said += process.stdout.read().split() if process.stdout else []
    return said


def test_a_job_survives_the_sigkill_of_its_worker(table: JobTable, tmp_path: Path) -> None:
    """Its progress is kept, and another takes it over once the lease has run out, not before."""
    job = table.enqueue("prune", {}, now=0.0)

    assert killed_after(WORKER, tmp_path / "jobs.db", 1) == [job.id]

    assert table.claim("heir", now=9.0, lease=10) is None
    taken = table.claim("heir", now=10.0, lease=10)
    assert taken is not None
    assert (taken.id, taken.attempts) == (job.id, 2)
    assert [e.body.get("share") for e in table.events(job.id)][2] == 0.5
    assert states(table, job) == ["queued", "running", None, "queued", "running"]


@pytest.mark.parametrize("lines", [3, 17])
def test_a_kill_in_the_middle_of_writing_leaves_the_file_whole(tmp_path: Path, lines: int) -> None:
    """Every job that was acknowledged is there, each with its event, and the file passes SQLite's own check."""
    path = tmp_path / "jobs.db"

    acknowledged = killed_after(WRITING, path, lines)

    table = JobTable(path)
    assert len(acknowledged) >= lines
    assert {table.get(job).state for job in acknowledged} == {"queued"}
    assert all(states(table, job) == ["queued"] for job in table.list(limit=10_000))
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()
    table.close()
