"""What the optimizer remembers of every parameter, by the parameter's name.

Rules: the memory belongs to the name and not to a part, so that a part can be made anew over other stages and goes on
as if nothing had happened; what comes from outside has exactly the keys, types and shapes that this optimizer has for
such a parameter, or is refused; an update touches only the parameters that got a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import nn

from ..engine import Array, Values
from ..engine.torch_values import dtype_of, to_numpy, to_torch
from .optimizers import checked, make_optimizer
from .settings import Optimizing

# A shape that no optimizer keeps by itself: what has it in the pattern is shaped like the parameter.
_PATTERN = (2, 3)


@final
class OptimizerBook:
    """One optimizer's memory of a model. `states` finds a parameter by its name."""

    def __init__(self, states: Callable[[str], torch.Tensor], spec: Optimizing) -> None:
        self._states, self._spec = states, checked(spec)
        self._memory: dict[str, dict[str, Any]] = {}
        self._made: dict[tuple[str, ...], torch.optim.Optimizer] = {}
        self._patterns: dict[torch.dtype, dict[str, torch.Tensor]] = {}

    def update(self, names: tuple[str, ...], rate: float) -> None:
        """One step of the optimizer over these parameters with the gradients they have; the gradients go."""
        parameters = [self._states(name) for name in names]
        optimizer = self._optimizer(names, parameters)
        if self._spec.clip:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.clamp_(-self._spec.clip, self._spec.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        for parameter in parameters:
            parameter.grad = None

    def _optimizer(self, names: tuple[str, ...], parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
        """Made once for a row of names, and again when its parameters are other tensors than before."""
        found = self._made.get(names)
        if found is not None and all(
            a is b for a, b in zip(found.param_groups[0]["params"], parameters, strict=True)
        ):
            return found
        pairs = zip(names, parameters, strict=True)
        made = make_optimizer(self._spec, [(n, p) for n, p in pairs if isinstance(p, nn.Parameter)])
        for name, parameter in zip(names, parameters, strict=True):
            if self._memory.get(name):
                made.state[parameter] = self._memory[name]
            else:  # some begin with numbers of their own; the dictionary is shared, so that it fills here too
                self._memory[name] = made.state[parameter]
        # A parameter is in one part at a time: rows of earlier parts would only hold on to tensors.
        self._made = {row: old for row, old in self._made.items() if set(row).isdisjoint(names)} | {
            names: made
        }
        return made

    def export(self, names: Iterable[str]) -> Values:
        """Copies of what is remembered, as `optimizer/NAME/KEY`; nothing of a parameter without a memory."""
        found: Values = {}
        for name in names:
            for key, value in self._memory.get(name, {}).items():
                array = to_numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value)
                found[f"optimizer/{name}/{key}"] = array.copy()
        return found

    def nbytes(self, name: str) -> int:
        """The bytes of what is remembered of a parameter."""
        return sum(torch.as_tensor(value).nbytes for value in self._memory.get(name, {}).values())

    def problems(self, name: str, given: Mapping[str, Array]) -> list[str]:
        """What is wrong with a memory of a parameter, by key; nothing where there is none."""
        if not given:
            return []
        parameter = self._states(name)
        if not isinstance(parameter, nn.Parameter):
            return [f"optimizer/{name}: is no parameter"]
        pattern = self._pattern(parameter.dtype)
        found = [f"optimizer/{name}/{key}: is missing" for key in pattern if key not in given]
        for key, array in given.items():
            if key not in pattern:
                found.append(
                    f"optimizer/{name}/{key}: {self._spec.name} keeps {', '.join(pattern) or 'nothing'}"
                )
                continue
            shape = tuple(parameter.shape) if _like(pattern[key]) else ()
            dtype = dtype_of(pattern[key])
            if str(array.dtype) != dtype or array.shape != shape:
                found.append(
                    f"optimizer/{name}/{key}: is {array.dtype}{list(array.shape)}, not {dtype}{list(shape)}"
                )
        return found

    def put(self, name: str, given: Mapping[str, Array]) -> None:
        """Remember this of a parameter instead of what was there; it was looked at before."""
        parameter = self._states(name)
        memory: dict[str, Any] = {}
        for key, array in given.items():
            like = _like(self._pattern(parameter.dtype)[key])
            # torch keeps counters in main memory, wherever the parameter lies.
            memory[key] = to_torch(array).clone().to(parameter.device if like else "cpu")
        self.forget([name])
        if memory:
            self._memory[name] = memory

    def forget(self, names: Iterable[str]) -> None:
        """Let go of what is remembered of these parameters."""
        gone = set(names)
        for name in gone:
            self._memory.pop(name, None)
        self._made = {row: made for row, made in self._made.items() if gone.isdisjoint(row)}

    def _pattern(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """What this optimizer remembers of a parameter of a type, seen on a small one."""
        if dtype not in self._patterns:
            parameter = nn.Parameter(torch.zeros(_PATTERN, dtype=dtype))
            parameter.grad = torch.zeros_like(parameter)
            optimizer = make_optimizer(self._spec, [("", parameter)])
            optimizer.step()
            self._patterns[dtype] = {
                key: torch.as_tensor(value) for key, value in optimizer.state[parameter].items()
            }
        return self._patterns[dtype]


def _like(value: torch.Tensor) -> bool:
    """Whether a remembered value has the shape of its parameter."""
    return tuple(value.shape) == _PATTERN
