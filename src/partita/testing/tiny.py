"""A tiny engine in numpy: dense layers with skips, forward and backward, for tests that should not load torch.

Stage i computes t_i = tanh(t_{i-1} @ w_i + s), where s is an older tensor of the same width where the stage has a
skip. float64 and a fixed order of operations: parts and whole agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from ..engine import Array, Mode, Values
from ..errors import BadDocument
from ..graph import Chain, DType, Stage, TensorSpec


@final
class TinyModel:
    """`stages` dense layers of one width; stage i with i in `skips` also adds the tensor made by stage skips[i]."""

    def __init__(
        self, stages: int = 5, width: int = 8, skips: Mapping[int, int] | None = None, seed: int = 0
    ) -> None:
        draw = np.random.default_rng(seed)
        self.skips = dict(skips if skips is not None else {stages - 1: 0})
        self.weights: Values = {f"w{i}": draw.standard_normal((width, width)) / width for i in range(stages)}
        self.width = width
        self.calls = 0
        names = ["x", *(f"t{i}" for i in range(stages))]
        row = tuple(
            Stage(
                f"layer{i}",
                (names[i], *((names[self.skips[i] + 1],) if i in self.skips else ())),
                (names[i + 1],),
                (f"w{i}",),
            )
            for i in range(stages)
        )
        tensors = {name: TensorSpec(name, DType.FLOAT64, ("batch", width)) for name in names}
        sizes = {name: weight.nbytes for name, weight in self.weights.items()}
        self.chain = Chain("tiny", "numpy", row, tensors, ("x",), (names[-1],), sizes)

    def part(self, start: int, stop: int) -> TinyPart:
        """The layers [start, stop)."""
        self.chain.check_part(start, stop)
        return TinyPart(self, start, stop)

    def example(self, batch: int | None = None, seed: int = 0) -> Values:
        """A seeded input."""
        return {"x": np.random.default_rng(seed).standard_normal((batch or 2, self.width))}

    def whole(self, values: Mapping[str, Array]) -> Values:
        """All layers."""
        return self.part(0, len(self.chain)).forward(values)


@final
class TinyPart:
    """Some layers of a tiny model."""

    def __init__(self, model: TinyModel, start: int, stop: int) -> None:
        self.model, self.start, self.stop = model, start, stop
        self.inputs = model.chain.part_inputs(start, stop)
        self.outputs = model.chain.part_outputs(start, stop)
        self.mode: Mode = "eval"
        self._kept: dict[int, Values] = {}
        self._gradients: Values = {}

    def forward(self, values: Mapping[str, Array]) -> Values:
        """Outputs from inputs."""
        every = self._all(values)
        return {name: every[name] for name in self.outputs}

    def _all(self, values: Mapping[str, Array]) -> Values:
        self.model.calls += 1
        every: Values = {name: values[name] for name in self.inputs}
        for index in range(self.start, self.stop):
            stage = self.model.chain.stages[index]
            total = every[stage.inputs[0]] @ self.model.weights[f"w{index}"]
            if index in self.model.skips:
                total = total + every[stage.inputs[1]]
            every[stage.outputs[0]] = np.tanh(total)
        return every

    def forward_kept(self, values: Mapping[str, Array], key: int = 0) -> Values:
        """Outputs, with everything kept for one backward."""
        self._kept[key] = self._all(values)
        return {name: self._kept[key][name] for name in self.outputs}

    def backward(self, gradients: Mapping[str, Array], key: int = 0) -> Values:
        """Gradients of the inputs; the weights gather theirs."""
        every, total = self._kept.pop(key), dict(gradients)
        for index in reversed(range(self.start, self.stop)):
            stage, weight = self.model.chain.stages[index], f"w{index}"
            made = total.pop(stage.outputs[0], None)
            if made is None:
                continue
            inner = made * (1 - every[stage.outputs[0]] ** 2)
            self._gradients[weight] = self._gradients.get(weight, 0) + every[stage.inputs[0]].T @ inner
            for name, gradient in zip(
                stage.inputs, (inner @ self.model.weights[weight].T, inner), strict=False
            ):
                total[name] = total[name] + gradient if name in total else gradient
        return {name: total[name] for name in self.inputs if name in total}

    def gradients(self) -> Values:
        """Of the weights, so far."""
        return dict(self._gradients)

    def zero_gradients(self) -> None:
        """Forget them."""
        self._gradients = {}

    def set_mode(self, mode: Mode) -> None:
        """Remembered only: nothing here depends on it."""
        self.mode = mode

    def state(self) -> Values:
        """The weights of these layers."""
        return {
            name: self.model.weights[name] for name in self.model.chain.part_params(self.start, self.stop)
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take weights: all of them, as other engines ask."""
        own = self.state()
        problems = [f"{name}: is no weight of this part" for name in state if name not in own]
        problems += [f"{name}: is missing" for name in own if name not in state]
        if problems:
            raise BadDocument("state", problems, fix="send the weights of this part, all of them")
        self.model.weights.update({name: np.array(value) for name, value in state.items()})
