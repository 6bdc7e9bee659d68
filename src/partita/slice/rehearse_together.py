"""Many runs at the same time through the same functions: each answers one call at a time, as functions do.

Rules: a function that is free is used before another is started; the first thing that goes wrong stops everything,
and it is what is told.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

from ..engine import Array, Values
from .event import Event, answer, first_event, new_run
from .rehearse_functions import Functions
from .rehearse_process import SliceProcess


def together(functions: Functions, given: Sequence[Mapping[str, Array]], environments: int) -> list[Values]:
    """One run for every set of inputs, all at the same time."""
    crowd = Crowd(functions, environments)
    try:
        with ThreadPoolExecutor(len(given), thread_name_prefix="rehearsal") as pool:
            try:
                waiting = [pool.submit(crowd.run, values) for values in given]
                done = [each.exception() for each in waiting]
            except BaseException:
                crowd.stop()
                raise
        if any(done):
            raise crowd.first or next(error for error in done if error is not None)
        return [each.result() for each in waiting]
    finally:
        crowd.close()


@final
class Crowd:
    """The functions of all slices, up to `most` for each."""

    def __init__(self, functions: Functions, most: int) -> None:
        self._functions, self._most = functions, most
        count = len(functions.manifest.files)
        self._free: list[list[SliceProcess]] = [[] for _ in range(count)]
        self._started = [0] * count
        self._all: list[SliceProcess] = []
        self._changed = threading.Condition()
        self._stopped = False
        self.first: BaseException | None = None

    def run(self, values: Mapping[str, Array]) -> Values:
        """One run from the model's inputs to its outputs."""
        functions = self._functions
        run = new_run()
        try:
            event = first_event(functions.manifest, values, functions.store, run=run)
            for index in range(len(functions.manifest.files)):
                process = self._take(index)
                called = functions.call(process, event.pieces())
                self._give(process)
                event = Event.unpack(called.event)
            outputs = answer(functions.manifest, event, functions.store)
        except BaseException as error:
            with self._changed:
                # What follows from stopping is not why it was stopped.
                if not self._stopped:
                    self.first = error
            self.stop()
            raise
        functions.store.forget(run)
        return outputs

    def stop(self) -> None:
        """Let nobody wait any more, and end the functions that work."""
        with self._changed:
            self._stopped = True
            for process in self._all:
                process.kill()
            self._changed.notify_all()

    def close(self) -> None:
        """End all functions."""
        for process in self._all:
            self._functions.end(process)

    def _take(self, index: int) -> SliceProcess:
        with self._changed:
            while not self._stopped and not self._free[index] and self._started[index] >= self._most:
                self._changed.wait()
            if self._stopped:
                raise RuntimeError("stopped")
            if self._free[index]:
                return self._free[index].pop()
            self._started[index] += 1
            process = self._functions.start(index)
            self._all.append(process)
        self._functions.ready(process)
        return process

    def _give(self, process: SliceProcess) -> None:
        with self._changed:
            self._free[process.index].append(process)
            self._changed.notify_all()
