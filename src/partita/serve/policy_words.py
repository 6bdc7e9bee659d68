"""The words of the policy language: what can be compared, how, and the states a task goes through.

Rules: the names of the original (`Metrics`, `CompareOperators`, `BooleanOperators`, `TaskState`, `Task`,
`Status`) keep their meaning; times are seconds, energy is millijoules, computation is GFLOPs, shares lie in 0 to 1; a
fact that nobody knows is None, and nothing compared with it is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from math import inf
from operator import eq, ge, gt, le, lt, ne
from types import MappingProxyType
from typing import Any

from .tables import Bounds


class Metrics(Enum):
    """What a condition can look at. The first six are the original's."""

    RESPONSE_TIME = "response_time"
    CONFIDENCE = "confidence"
    ACCURACY = "accuracy"
    ENERGY = "energy"
    COMPUTATION = "computation"
    EXIT = "exit"
    QUEUE_TIME = "queue_time"
    SLACK = "slack"
    PREDICTED_RESPONSE_TIME = "predicted_response_time"
    PREDICTED_ENERGY = "predicted_energy"
    MARGIN = "margin"
    ENTROPY = "entropy"
    AGREEMENT = "agreement"
    LOAD = "load"
    BATTERY = "battery"
    TEMPERATURE = "temperature"
    TENANT = "tenant"

    @property
    def low(self) -> float:
        """The least value that makes sense: a request can be late and a device below freezing, nothing else is negative."""
        return -inf if self in {Metrics.SLACK, Metrics.TEMPERATURE} else 0.0

    @property
    def high(self) -> float:
        """The largest value that makes sense."""
        return 1.0 if self in _SHARES else inf

    @property
    def unit(self) -> str:
        """For reading."""
        return _UNITS.get(self, "")


_SHARES = frozenset({Metrics.CONFIDENCE, Metrics.ACCURACY, Metrics.MARGIN, Metrics.BATTERY})
# What is known before the first stage runs, and so can decide under which rules a request runs.
KNOWN_BEFORE = (
    Metrics.QUEUE_TIME,
    Metrics.SLACK,
    Metrics.LOAD,
    Metrics.BATTERY,
    Metrics.TEMPERATURE,
    Metrics.TENANT,
)
_UNITS = {
    Metrics.RESPONSE_TIME: "s",
    Metrics.QUEUE_TIME: "s",
    Metrics.SLACK: "s",
    Metrics.PREDICTED_RESPONSE_TIME: "s",
    Metrics.ENERGY: "mJ",
    Metrics.PREDICTED_ENERGY: "mJ",
    Metrics.COMPUTATION: "GFLOPs",
    Metrics.TEMPERATURE: "°C",
}


def _between(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] <= value <= ends[1]


def _never(value: object, threshold: object) -> bool:  # noqa: ARG001  # an operator takes two sides
    return False


class CompareOperators(Enum):
    """How a metric is compared with a threshold. The first six are the original's; NULL is never true."""

    LESS = "less"
    LESS_EQ = "less_eq"
    EQUAL = "equal"
    GREATER = "greater"
    GREATER_EQ = "greater_eq"
    NULL = "null"
    NOT_EQUAL = "not_equal"
    BETWEEN = "between"

    @property
    def function(self) -> Callable[[Any, Any], bool]:
        """The comparison itself."""
        return _FUNCTIONS[self]

    @property
    def sign(self) -> str:
        """As people write it: `>` for greater."""
        return next((sign for sign, op in SIGNS.items() if op is self), self.value)

    def __call__(self, value: Any, threshold: Any) -> bool:
        return _FUNCTIONS[self](value, threshold)


SIGNS: Mapping[str, CompareOperators] = MappingProxyType(
    {
        "<": CompareOperators.LESS,
        "<=": CompareOperators.LESS_EQ,
        "==": CompareOperators.EQUAL,
        "!=": CompareOperators.NOT_EQUAL,
        ">": CompareOperators.GREATER,
        ">=": CompareOperators.GREATER_EQ,
    }
)
_FUNCTIONS: Mapping[CompareOperators, Callable[[Any, Any], bool]] = {
    CompareOperators.LESS: lt,
    CompareOperators.LESS_EQ: le,
    CompareOperators.EQUAL: eq,
    CompareOperators.GREATER: gt,
    CompareOperators.GREATER_EQ: ge,
    CompareOperators.NULL: _never,
    CompareOperators.NOT_EQUAL: ne,
    CompareOperators.BETWEEN: _between,
}


class BooleanOperators(Enum):
    """How conditions are joined."""

    AND = "and"
    OR = "or"
    NOT = "not"


class TaskState(Enum):
    """Where a task is. INIT, STARTED and FINISHED are the original's.

    QUEUED waits for its first stage, RUNNING is on the device, EXITED has left the network with an answer that is not yet
    handed over, FINISHED is answered. REJECTED was refused, EXPIRED was dropped after its deadline without an answer,
    FAILED raised while it ran.
    """

    INIT = "init"
    STARTED = "started"
    FINISHED = "finished"
    QUEUED = "queued"
    RUNNING = "running"
    EXITED = "exited"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(slots=True)
class Facts:
    """What is known of one request at one exit. It is filled in place, once per exit, and so is not frozen.

    `agreement` counts the exits just before this one that named the same class; `entropy` is in nats; `load` is the
    arriving work as a share of what the device can do at full depth.
    """

    response_time: float | None = None
    confidence: float | None = None
    accuracy: float | None = None
    energy: float | None = None
    computation: float | None = None
    exit: int = -1
    queue_time: float | None = None
    slack: float | None = None
    predicted_response_time: float | None = None
    predicted_energy: float | None = None
    margin: float | None = None
    entropy: float | None = None
    agreement: int | None = None
    load: float | None = None
    battery: float | None = None
    temperature: float | None = None
    tenant: str | None = None


# The original's name: what conditions look at is what a task reports afterwards.
Status = Facts


@dataclass(slots=True)
class Task:
    """One request: its inputs, and after its run the outputs, what was known when each sample left, and why it left.

    `inputs` are arrays with the samples first. `statuses` and `reasons` have one entry per sample; `status` is that of the
    sample that left last. `arrived` is when it came, by the executor's clock; None means when it started.
    """

    inputs: Any
    outputs: Any = None
    start_t: float | None = None
    end_t: float | None = None
    status: Facts = field(default_factory=Facts)
    state: TaskState = TaskState.INIT
    arrived: float | None = None
    tenant: str | None = None
    bounds: Bounds = field(default_factory=Bounds)
    statuses: tuple[Facts, ...] = ()
    reasons: tuple[str, ...] = ()
    policy_version: str = ""


def nearest(word: str, words: list[str]) -> str:
    """`, did you mean 'confidence'?` where something known is near; otherwise what is known."""
    close = get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(words)}"
