"""Requests one after another for some seconds, under one file of conditions and then the next, as the original showed it.

Rules: log lines are those of the original, character for character; nothing is printed here, whoever calls says where
lines go; files are taken in the order of the numbers in their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from ..errors import NotFound
from .execute import ConditionalExecutor
from .policy import Policy
from .policy_read import parse_policy
from .policy_words import Task, TaskState
from .tables import ExitProfile

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What came of some seconds of requests. Times in seconds; `within` is the share answered within `bound`; `exits`
    counts samples by the exit that answered them; `accuracy` is what the profile expects of these exits."""

    requests: int
    seconds: float
    bound: float | None
    within: float | None
    exits: tuple[int, ...]
    rejected: int
    p50: float
    p99: float
    accuracy: float | None
    policy_version: str

    def __str__(self) -> str:
        counts = ", ".join(f"exit {k}: {count}" for k, count in enumerate(self.exits) if count)
        text = f"{self.requests} requests in {self.seconds:.1f} s"
        if self.bound is not None and self.within is not None:
            text += f", {self.within:.2%} within {self.bound * 1e3:g} ms"
        text += f"; p50 {self.p50 * 1e3:.2f} ms, p99 {self.p99 * 1e3:.2f} ms; {counts or 'no answers'}"
        text += f"; {self.rejected} rejected" if self.rejected else ""
        return text + (f"; expected accuracy {self.accuracy:.4f}" if self.accuracy is not None else "")


def execute_for(
    executor: ConditionalExecutor, seconds: float, inputs: Callable[[int], Any], *, say: Say
) -> RunSummary:
    """Requests for so many seconds, each with `inputs(number)`; one log line each."""
    clock, decisions = executor.clock, executor.decisions
    began = clock()
    times: list[float] = []
    exits = [0] * decisions.exits
    kept = rejected = 0
    while (now := clock()) - began < seconds or not times:
        task = executor.execute(Task(inputs(len(times)), arrived=now))
        took = (task.end_t or now) - now
        times.append(took)
        if task.state is TaskState.REJECTED:
            rejected += 1
        for status in task.statuses:
            exits[status.exit] += 1
        due = decisions.due(task.status.exit)
        kept += task.state is TaskState.FINISHED and (due is None or took <= due)
        say(f"[INFO] main task {task.state}, response time: {took * 1e3:.2f}, exit#: {task.status.exit}")
    bound = decisions.due(decisions.exits - 1)
    times.sort()
    return RunSummary(
        requests=len(times),
        seconds=clock() - began,
        bound=bound,
        within=None if bound is None else kept / len(times),
        exits=tuple(exits),
        rejected=rejected,
        p50=_quantile(times, 0.5),
        p99=_quantile(times, 0.99),
        accuracy=_expected(executor.profile, exits),
        policy_version=decisions.version,
    )


def execute_files(
    executor: ConditionalExecutor,
    files: Iterable[str | Path],
    inputs: Callable[[int], Any],
    *,
    seconds: float,
    say: Say,
) -> tuple[RunSummary, ...]:
    """So many seconds under each file of conditions, in the order given. All are read before the first request."""
    named = [(str(file), read_policy(file, executor.profile)) for file in files]
    summaries = []
    for i, (file, policy) in enumerate(named):
        if i:
            say(f"[INFO] main Updating conditions from file {file}")
        executor.update_conditions(policy)
        summaries.append(execute_for(executor, seconds, inputs, say=say))
    return tuple(summaries)


def read_policy(file: str | Path, profile: ExitProfile | None = None) -> Policy:
    """A policy or a list of conditions from a file, held against the network of the profile."""
    path = Path(file)
    if not path.is_file():
        raise NotFound(f"there is no file {str(file)!r}", fix="give a JSON file with conditions or a policy")
    return parse_policy(path.read_bytes(), profile=profile, name=path.name)


def condition_files(folder: str | Path) -> tuple[Path, ...]:
    """The files `conditions*.json` of a folder: that for 20 ms before that for 100 ms."""
    found = sorted(Path(folder).glob("conditions*.json"), key=lambda path: _by_numbers(path.name))
    if not found:
        raise NotFound(f"no conditions*.json in {str(folder)!r}", fix="name the files with --conditions")
    return tuple(found)


def _by_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _quantile(times: Sequence[float], share: float) -> float:
    """The smallest time that a share of all stay at or below."""
    return times[ceil(share * len(times)) - 1]


def _expected(profile: ExitProfile, exits: Sequence[int]) -> float | None:
    used = [(count, profile.exits[k].accuracy) for k, count in enumerate(exits) if count]
    if not used or any(accuracy is None for _, accuracy in used):
        return None
    return sum(count * (accuracy or 0.0) for count, accuracy in used) / sum(count for count, _ in used)
