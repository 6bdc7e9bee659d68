"""What goes into a model and what it gives back, as flat names and as the user's own structure.

Rules: every tensor leaf of the arguments has a name (`x`, `images.0`, `mask`); every other leaf is a constant of the
capture. Outputs are named by their place too (`logits`, `output.1`), whatever class holds them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import CannotCapture

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments of `forward`: one entry per leaf, a name for a tensor and None for a constant."""

    spec: Any
    leaves: tuple[Any, ...]
    names: tuple[str | None, ...]

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The example inputs by name."""
        return {name: leaf for name, leaf in zip(self.names, self.leaves, strict=True) if name is not None}

    def arguments(self, values: Tensors) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments with these tensors in their places."""
        leaves = [
            leaf if name is None else values[name] for name, leaf in zip(self.names, self.leaves, strict=True)
        ]
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        return tuple(args), dict(kwargs)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model returns: one entry per leaf, a name for a tensor, else the constant itself."""

    spec: Any
    names: tuple[str | None, ...]
    constants: tuple[Any, ...]

    def build(self, values: Mapping[str, Any]) -> Any:
        """The user's own structure around these values."""
        leaves = [
            constant if name is None else values[name]
            for name, constant in zip(self.names, self.constants, strict=True)
        ]
        return pytree.tree_unflatten(leaves, self.spec)

    def flatten(self, answer: Any) -> dict[str, torch.Tensor]:
        """The tensors of what the module returned, by name."""
        leaves = pytree.tree_leaves(answer)
        return {
            name: leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf)
            for name, leaf in zip(self.names, leaves, strict=True)
            if name is not None
        }


def read_signature(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Signature:
    """Name the leaves of the example arguments after the parameters of `forward`."""
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as problem:
        raise CannotCapture(
            f"{type(module).__name__}.forward{signature} does not take the example inputs: {problem}",
            fix="pass example inputs as capture_torch(module, args=(...), kwargs={...}), or describe each on the"
            " command line, like --input x:float32[2,3,224,224]",
        ) from None
    # torch.export keeps keyword arguments in the order of the signature; so must we.
    ordered = {name: kwargs[name] for name in bound.arguments if name in kwargs}
    ordered |= {name: value for name, value in kwargs.items() if name not in ordered}
    for value in (args, ordered):
        register_dataclasses(value)
    paths, spec = pytree.tree_flatten_with_path((tuple(args), ordered))
    positional = _positional_names(signature, len(args))
    taken: dict[str, int] = {}
    names = [
        unique(_input_name(path, positional), taken) if isinstance(leaf, torch.Tensor) else None
        for path, leaf in paths
    ]
    return Signature(spec, tuple(_apart([leaf for _, leaf in paths])), tuple(names))


def _apart(leaves: list[Any]) -> list[Any]:
    """A tensor that is given twice becomes two: tracing would take `query is key` for a fact about the model."""
    seen: set[int] = set()
    for i, leaf in enumerate(leaves):
        if id(leaf) in seen and isinstance(leaf, torch.Tensor):
            leaves[i] = leaf.detach().clone()
        seen.add(id(leaf))
    return leaves


def register_dataclasses(value: Any) -> bool:
    """Teach torch to look into the dataclasses found here; whether there were new ones."""
    new = {
        type(leaf) for leaf in pytree.tree_leaves(value) if is_dataclass(leaf) and not isinstance(leaf, type)
    }
    for kind in new:
        torch.export.register_dataclass(kind)
    if new:
        register_dataclasses(value)
    return bool(new)


def _positional_names(signature: inspect.Signature, count: int) -> list[str]:
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}.{i}" for i in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return names


def _input_name(path: Sequence[Any], positional: Sequence[str]) -> str:
    side, place, *rest = (_key(key) for key in path)
    first = positional[int(place)] if side == "0" else place
    return ".".join([first, *rest])


def _key(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key).strip("[].'\"")


def unique(name: str, taken: dict[str, int]) -> str:
    """The name, or the name with the number of its repetition: `relu`, `relu/2`, `relu/3`."""
    taken[name] = taken.get(name, 0) + 1
    if taken[name] == 1:
        return name
    return unique(f"{name}/{taken[name]}", taken)


def name_outputs(spec: Any, count: int) -> list[str]:
    """A name per leaf of what the model returns."""
    if count == 1 and spec.is_leaf():
        return ["output"]
    try:
        paths, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(count)), spec))
    except (ValueError, TypeError, NotImplementedError):
        return [f"output.{i}" for i in range(count)]  # a class that flattens but does not tell its keys
    names = [".".join(_key(key) for key in path) for path, _ in paths]
    return [name if not name[:1].isdigit() else f"output.{name}" for name in names]


def run_once(module: torch.nn.Module, example: Signature) -> Any:
    """What the module gives for the example, leaving no trace in its buffers or in the random numbers."""
    args, kwargs = example.arguments({name: tensor.clone() for name, tensor in example.tensors.items()})
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict(keep_vars=True).items()}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return torch.func.functional_call(module, state, args, kwargs)
