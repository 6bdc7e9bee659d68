"""A model whose costs are known: numpy stages that move a clock by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from partita.graph import Chain, DType, Stage, TensorSpec
from partita.profile import Effort


class HandClock:
    """A clock that moves only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def line(
    count: int, *, ops: tuple[int, ...] = (), blocked: Mapping[int, str] | None = None, width: int = 4
) -> Chain:
    """`count` stages in a row, each with one parameter of 16 bytes."""
    names = ["x", *(f"h{i}" for i in range(1, count + 1))]
    return Chain(
        name="line",
        engine="fake",
        stages=tuple(
            Stage(f"s{i}", (names[i],), (names[i + 1],), (f"w{i}",), ops=ops[i] if ops else 1)
            for i in range(count)
        ),
        tensors={name: TensorSpec(name, DType.FLOAT32, ("batch", width)) for name in names},
        inputs=("x",),
        outputs=(names[-1],),
        params={f"w{i}": 16 for i in range(count)},
        blocked=blocked or {},
    )


@dataclass
class FakePart:
    """A part that takes the time it was told: one call, and each stage's seconds for each row."""

    model: FakeModel
    start: int
    stop: int
    mode: str = "eval"
    kept: dict[int, bool] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.model.chain.part_inputs(self.start, self.stop)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.model.chain.part_outputs(self.start, self.stop)

    def forward(self, values: Mapping[str, Any]) -> dict[str, Any]:
        assert set(values) == set(self.inputs)
        if self.model.failure is not None:
            raise self.model.failure
        self.model.calls.append((self.start, self.stop, self.mode))
        seen = dict(values)
        rows = len(next(iter(values.values())))
        self.model.clock.now += self.model.call + rows * sum(self.model.costs[self.start : self.stop])
        for stage in self.model.chain.stages[self.start : self.stop]:
            if stage.name == self.model.broken:
                raise ValueError("a matrix of the wrong shape")
            seen[stage.outputs[0]] = sum(seen[name] for name in stage.inputs) + 1
        return {name: seen[name] for name in self.outputs}


@dataclass
class FakeLearner(FakePart):
    """A part whose way back takes twice the way there."""

    def forward_kept(self, values: Mapping[str, Any], key: int = 0) -> dict[str, Any]:
        self.kept[key] = True
        if self.mode == "train":
            self.model.weights["w0"] = self.model.weights["w0"] + 1
        return self.forward(values)

    def backward(self, gradients: Mapping[str, Any], key: int = 0) -> dict[str, Any]:
        assert self.kept.pop(key)
        assert set(gradients) == set(self.outputs)
        rows = len(next(iter(gradients.values())))
        self.model.clock.now += rows * 2 * sum(self.model.costs[self.start : self.stop])
        self.model.gradients["w0"] = np.ones(4)
        return {}

    def zero_gradients(self) -> None:
        self.model.gradients.clear()

    def gradients(self) -> dict[str, Any]:
        return self.model.gradients

    def set_mode(self, mode: str) -> None:
        self.mode = mode

    def state(self) -> dict[str, Any]:
        return self.model.weights

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.model.weights = dict(state)


@dataclass
class FakeModel:
    """A captured model of known costs: `costs[i]` seconds for one row of stage i, `call` for every call."""

    chain: Chain
    costs: tuple[float, ...]
    call: float = 0.0
    learns: bool = True
    broken: str = ""
    failure: Exception | None = None
    clock: HandClock = field(default_factory=HandClock)
    calls: list[tuple[int, int, str]] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=lambda: {"w0": np.zeros(4)})
    gradients: dict[str, Any] = field(default_factory=dict)

    def part(self, start: int, stop: int) -> FakePart:
        self.chain.check_part(start, stop)
        return (FakeLearner if self.learns else FakePart)(self, start, stop)

    def example(self, batch: int | None = None, seed: int = 0) -> dict[str, Any]:
        shape = self.chain.tensors["x"].shape or ()
        rows = shape[0] if isinstance(shape[0], int) else batch or 1
        return {name: np.zeros((rows, 4), np.float32) for name in self.chain.inputs}

    def whole(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return self.part(0, len(self.chain)).forward(values)

    def effort(self, **changes: Any) -> Effort:
        return Effort(**{"clock": self.clock, "budget": 1e9, "seconds": 0.0, **changes})


@pytest.fixture(name="line")
def _line() -> Callable[..., Chain]:
    """Builds a row of stages."""
    return line


@pytest.fixture
def model() -> Callable[..., FakeModel]:
    """Builds a row of stages with known costs."""

    def build(costs: tuple[float, ...], *, chain: Chain | None = None, **options: Any) -> FakeModel:
        return FakeModel(chain or line(len(costs)), costs, **options)

    return build
