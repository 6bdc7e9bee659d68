"""How many threads a model runs on: found out, and set for the time of a measurement.

Rules: a model that carries settings (ONNX) is copied with others; PyTorch, whose count belongs to the process, is
set and put back; a count that cannot be set is refused, because a profile with a wrong count would be believed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, cast, runtime_checkable

from ..engine import Captured
from ..errors import BadDocument, UserError


@runtime_checkable
class Adjustable(Protocol):
    """A captured model whose settings, a frozen dataclass with `threads`, can be changed for a copy of it."""

    @property
    def settings(self) -> Any: ...

    def with_settings(self, settings: Any) -> Captured:
        """The same model, to be run differently."""
        ...


def usable_cores() -> int:
    """The cores this process may use: containers and task sets count."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - macOS has no affinity


@contextmanager
def use_threads(model: Captured, count: int | None) -> Iterator[tuple[Captured, int]]:
    """The model and its thread count while the block runs; what was there before comes back after it."""
    before = _threads(model)
    if count is None:
        yield model, before
        return
    changed = with_threads(model, count)
    try:
        yield changed, count
    finally:
        if changed is model:
            with_threads(model, before)


def with_threads(model: Captured, count: int) -> Captured:
    """The model on so many threads from here on: a copy where it carries settings, else the same one."""
    if count < 1:
        raise BadDocument("threads", [f"{count!r} is less than 1"], fix="give --threads 1 or more")
    if count == (before := _threads(model)):
        return model
    if isinstance(model, Adjustable):
        return model.with_settings(replace(model.settings, threads=count))
    runtime = _runtime(model)
    if runtime is None:
        raise UserError(
            f"the {model.chain.engine} engine cannot change its thread count from {before} to {count} here",
            fix=f"start the program with OMP_NUM_THREADS={count}, and leave --threads away",
        )
    runtime.set_num_threads(count)
    return model


def _runtime(model: Captured) -> Any:
    """PyTorch where the model runs on it: loaded by the engine, never here."""
    return sys.modules.get("torch") if model.chain.engine == "torch" else None


def _threads(model: Captured) -> int:
    if isinstance(model, Adjustable):
        # 0 is ONNX Runtime's word for as many as there are.
        return cast("int", model.settings.threads) or usable_cores()
    runtime = _runtime(model)
    return int(runtime.get_num_threads()) if runtime else usable_cores()
