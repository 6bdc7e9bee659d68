"""The other end of a slice in a process of its own: started, watched, stopped.

Rules: the process and all it started is gone when this end is closed; nothing waits without a bound; whoever
breaks a bound is killed first and reported after.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from ..errors import FrameCorrupt, PartFailed
from .payload import MOST_BYTES, Buffer
from .worker import ANSWER, EVENT, FAILED, FRAME, READY, REPORT, Setup, ran_out

# How often the resident size is looked at: an allocator touches new pages at some 2 GB/s, 10 MB in this time.
_LOOK: Final = 0.005
# Starting and loading has no limit of its own; what takes longer than this hangs.
_START: Final = 300.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CHUNK: Final = 1 << 20
_LAST_WORDS: Final = 400
# ONNX Runtime otherwise writes into the temporary folder and reports to its makers.
_SETTINGS: Final = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}
# Not -m: what the folder's door imports would be there twice.
_RUN: Final = f"import sys; from {__package__}.worker import main; sys.exit(main(sys.argv[1:]))"


class OverMemory(Exception):
    """It held more than it may, by so many bytes at least, and was killed. Never leaves the rehearsal."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class OverTime(Exception):
    """It ran longer than it may and was killed. Never leaves the rehearsal."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Resident:
    """Resident bytes: at the worst moment, and of these what is anonymous and what belongs to files, after work."""

    peak: int = 0
    anonymous: int = 0
    file: int = 0

    def at_worst(self, other: Resident) -> Resident:
        """The larger of both."""
        return Resident(
            max(self.peak, other.peak),
            max(self.anonymous, other.anonymous),
            max(self.file, other.file),
        )


@dataclass(frozen=True, slots=True)
class Called:
    """One call: the event that came back, its seconds in there, what it read from the store and wrote to it."""

    event: bytearray
    seconds: float
    read: int
    written: int
    resident: Resident


@final
class SliceProcess:
    """A slice under limits. `memory` in bytes and `seconds` a call; None where it has no limit."""

    def __init__(
        self, setup: Setup, home: Path, *, memory: int | None = None, seconds: float | None = None
    ) -> None:
        self.index, self.home = setup.index, home
        self._memory, self._seconds = memory, seconds
        self._words = home.with_name(f"{home.name}.err")
        self.began = time.perf_counter()
        with self._words.open("wb") as words:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _RUN, setup.dump()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env={**os.environ, **_SETTINGS, "TMPDIR": str(home)},
                # A group of its own: it can be killed with all it started, and Ctrl-C is ours to handle.
                start_new_session=True,
                bufsize=0,
            )
        assert self._child.stdin is not None  # noqa: S101 - asked for above
        assert self._child.stdout is not None  # noqa: S101
        self._in, self._out = self._child.stdin, self._child.stdout
        os.set_blocking(self._in.fileno(), False)
        os.set_blocking(self._out.fileno(), False)
        self._came = bytearray()
        self.base = 0
        self.load = self.cold = 0.0
        self.resident = Resident()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.pid

    def ready(self) -> None:
        """Wait until the slice is loaded."""
        said = json.loads(self._exchange([], READY, time.perf_counter() + _START))
        self.cold = time.perf_counter() - self.began
        self.base, self.load = said["base"], said["load"]
        self._weigh(said["memory"])

    def call(self, event: Sequence[Buffer]) -> Called:
        """One event in, one out."""
        views = [memoryview(piece).cast("B") for piece in event]
        views.insert(0, memoryview(FRAME.pack(EVENT, sum(map(len, views)))))
        deadline = time.perf_counter() + (self._seconds if self._seconds is not None else 1e9)
        said = json.loads(self._exchange(views, REPORT, deadline))
        back = self._exchange([], ANSWER, deadline)
        resident = self._weigh(said["memory"])
        return Called(back, said["seconds"], said["read"], said["written"], resident)

    def kill(self) -> None:
        """Stop it and all it started, now. Whoever waits for its answer learns that it died."""
        # Until it is waited for, its number cannot be anybody else's.
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """Stop it and let go of its pipes."""
        self.kill()
        self._child.wait()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):
                pipe.close()

    def _weigh(self, said: dict[str, int]) -> Resident:
        found = Resident(said["peak"], said["anonymous"], said["file"])
        self.resident = self.resident.at_worst(found)
        if self._memory is not None and found.peak > self._memory:
            raise self._over_memory(found.peak)
        return found

    def _exchange(self, pending: list[memoryview], wanted: bytes, deadline: float) -> bytearray:
        """Write what is pending and read one frame, looking at memory and the clock all the while."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._out, selectors.EVENT_READ)
            if pending:
                ready.register(self._in, selectors.EVENT_WRITE)
            while (frame := self._frame()) is None:
                left = deadline - time.perf_counter()
                if left <= 0:
                    self.close()
                    raise OverTime(self._seconds or _START)
                wait = min(left, 60.0) if self._memory is None else min(left, _LOOK)
                for key, _ in ready.select(wait):
                    if key.fileobj is self._out:
                        self._read()
                    elif not self._write(pending):
                        ready.unregister(self._in)
                self._look()
        kind, body = frame
        if kind == FAILED:
            raise self._failed(json.loads(body))
        if kind != wanted:
            raise FrameCorrupt(f"slice {self.index}: frame {kind!r} for {wanted!r}", fix="rehearse again")
        return body

    def _write(self, pending: list[memoryview]) -> bool:
        """Write some; whether there is more."""
        try:
            wrote = os.write(self._in.fileno(), pending[0][:_CHUNK])
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False  # what it died of is read from the other pipe
        pending[0] = pending[0][wrote:]
        while pending and not pending[0]:
            pending.pop(0)
        return bool(pending)

    def _read(self) -> None:
        data = os.read(self._out.fileno(), _CHUNK)
        if not data:
            raise self._died()
        self._came += data

    def _frame(self) -> tuple[bytes, bytearray] | None:
        if len(self._came) < FRAME.size:
            return None
        kind, length = FRAME.unpack_from(self._came)
        if length > MOST_BYTES:
            self.close()
            raise FrameCorrupt(f"slice {self.index}: a frame of {length} bytes", fix="rehearse again")
        if len(self._came) < FRAME.size + length:
            return None
        body = self._came[FRAME.size : FRAME.size + length]
        del self._came[: FRAME.size + length]
        return kind, body

    def _look(self) -> None:
        if self._memory is None:
            return
        try:
            pages = int(Path(f"/proc/{self._child.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return  # not Linux, or just ended
        if pages * _PAGE > self._memory:
            raise self._over_memory(pages * _PAGE)

    def _over_memory(self, needed: int) -> OverMemory:
        self.close()
        self.resident = self.resident.at_worst(Resident(needed))
        return OverMemory(needed)

    def _failed(self, said: dict[str, Any]) -> Exception:
        """What the worker itself said before it ended."""
        self.close()
        text = f"{said['code']} {said['problem']}"
        if self._memory is not None and ran_out(text):
            # It was refused more than the limit allows: it needs more than it may have.
            return OverMemory(max(said["memory"]["peak"], self._memory))
        problem = said["problem"].removeprefix(f"slice {self.index}: ")
        return PartFailed(f"slice {self.index}: {problem}", fix=said["fix"] or "rehearse with more memory")

    def _died(self) -> Exception:
        self.close()
        code, words = self._child.returncode, self._last_words()
        if self._memory is not None and ran_out(words):
            return OverMemory(max(self.resident.peak, self._memory))
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return PartFailed(
            f"slice {self.index}: its process {how}" + (f": {words}" if words else ""),
            fix="run it here to see where: partita slice run FOLDER",
        )

    def _last_words(self) -> str:
        """The end of what it wrote to stderr, as one line."""
        with contextlib.suppress(OSError):
            lines = self._words.read_text(errors="replace").strip().splitlines()
            return " | ".join(line.strip() for line in lines[-3:])[-_LAST_WORDS:]
        return ""
