"""The module's parameters and buffers by name, and their life as safetensors.

Rules: a tied tensor is there once, under its first name, and loads under any; what is loaded fits in name, type and
shape, or nothing is loaded and every problem is listed; files hold tensors and nothing that runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from ..errors import BadDocument, NotFound, SessionMisused
from .torch_graph import canonical_names

# Where a state lives: the dictionary of the module that owns it, and its key there. Looked up at every use,
# because `module.to(...)` puts new buffers in their places.
_Home = tuple[dict[str, torch.Tensor | None], str]


class StateBook:
    """Finds parameters and buffers by their first names."""

    def __init__(self, homes: Mapping[str, _Home], aliases: Mapping[str, str], kept: frozenset[str]) -> None:
        self._homes, self._aliases, self._kept = homes, aliases, kept

    @classmethod
    def of(cls, module: torch.nn.Module) -> StateBook:
        aliases = canonical_names(module)
        homes: dict[str, _Home] = {}
        kept: set[str] = set()
        for path, owner in module.named_modules(remove_duplicate=False):
            for held in (owner._parameters, owner._buffers):
                for key, tensor in held.items():
                    name = f"{path}.{key}" if path else key
                    if tensor is not None and aliases[name] == name:
                        homes[name] = (held, key)
                        if key not in owner._non_persistent_buffers_set:
                            kept.add(name)
        return cls(homes, aliases, frozenset(kept))

    def __getitem__(self, name: str) -> torch.Tensor:
        held, key = self._homes[name]
        tensor = held[key]
        assert tensor is not None  # noqa: S101  # captured modules do not lose parameters
        return tensor

    def check_held(self, names: Iterable[str], what: str) -> None:
        """Refuse states that have no memory: those of a model that arrived as data, before `hold`."""
        missing = [name for name in names if self[name].is_meta]
        if missing:
            listed = ", ".join(map(repr, missing[:3])) + ("" if len(missing) <= 3 else ", ...")
            raise SessionMisused(
                f"{what} uses {listed}, which {'is' if len(missing) == 1 else 'are'} not held here",
                fix="call hold(names) on the model first, and load their values",
            )

    @property
    def aliases(self) -> Mapping[str, str]:
        """For every name, the first name of the same tensor."""
        return self._aliases

    def only(self, names: Sequence[str]) -> StateBook:
        """The same, restricted to these first names."""
        return StateBook({n: self._homes[n] for n in names}, self._aliases, self._kept)

    def has(self, name: str) -> bool:
        """Whether a name, first or other, is in here and part of a saved state."""
        first = self._aliases.get(name, name)
        return first in self._homes and first in self._kept

    def all(self) -> dict[str, torch.Tensor]:
        return {name: self[name] for name in self._homes}

    def persistent(self) -> dict[str, torch.Tensor]:
        """What a state holds; buffers the module computes anew at every start are left out."""
        return {name: self[name].detach() for name in self._homes if name in self._kept}

    def load(self, state: Mapping[str, torch.Tensor], what: str) -> None:
        """Copy values into the module's own tensors, all or none."""
        own = self.persistent()
        given = {self._aliases.get(name, name): tensor for name, tensor in state.items()}
        problems = [f"{name!r} is missing" for name in own if name not in given]
        problems += [f"{name!r} is not part of it" for name in given if name not in own]
        for name, tensor in own.items():
            new = given.get(name)
            if new is not None and new.dtype != tensor.dtype:
                problems.append(f"{name!r} is {_dtype(new)}, not {_dtype(tensor)}")
            if new is not None and new.shape != tensor.shape:
                problems.append(f"{name!r} has shape {tuple(new.shape)}, not {tuple(tensor.shape)}")
        if problems:
            raise BadDocument(what, problems, fix="save it from the same model, with the same cuts")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(given[name])


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def save_file(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file in one step: a reader sees the old one or the new one."""
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(metadata))
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def load_file(path: Path, wanted: StateBook | None = None) -> dict[str, torch.Tensor]:
    """Read a safetensors file; of a larger one only what the book has, under any of its names."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise NotFound(f"there is no state file {path}", fix="give the path of a .safetensors file")
    try:
        with safe_open(str(path), framework="pt") as file:
            chosen = [name for name in sorted(file.keys()) if wanted is None or wanted.has(name)]
            return {name: file.get_tensor(name) for name in chosen}
    except SafetensorError as problem:
        raise BadDocument(
            f"state file {path}", [f"is no safetensors file: {problem}"], fix="save it with save_state"
        ) from None
