"""Object storage and a queue for these tests: an S3 server in this process, a job table for each test."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partita.store import Job, JobTable


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of a moto server on a free port."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of moto's own dependencies
        from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    """An empty table, in the file jobs.db of this test's folder."""
    opened = JobTable(tmp_path / "jobs.db")
    yield opened
    opened.close()


@pytest.fixture
def ask(table: JobTable) -> Callable[..., Job]:
    """Ask that table for a pruning that differs by a number."""

    def enqueue(n: int = 0, **options: object) -> Job:
        return table.enqueue("prune", {"n": n}, now=0.0, **options)

    return enqueue
