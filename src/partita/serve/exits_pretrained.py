"""Weights that were trained elsewhere, taken by name.

Rules: what fits in name, type and shape is taken, all else is reported by name and nothing is guessed; a file from
elsewhere is read as tensors only, never as something that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..engine.torch_state import load_file
from ..errors import BadDocument, NotFound
from .exits import MultiExit


@dataclass(frozen=True)
class Loaded:
    """What came of a file: names of the network that were filled, that the file lacks, that have another shape there,
    and names of the file that the network does not have."""

    taken: tuple[str, ...]
    missing: tuple[str, ...] = ()
    other_shape: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{len(self.taken)} tensors taken"
        rows = (
            ("not in the file", self.missing),
            ("of another shape", self.other_shape),
            ("not used", self.unused),
        )
        return text + "".join(f"; {len(names)} {what}: {_some(names)}" for what, names in rows if names)


def load_pretrained(model: MultiExit, path: str | Path) -> Loaded:
    """Fill a network from a safetensors file or a torch state dict: by the names of its plain network (those of
    torchvision and transformers), or by its own, whichever fits better. A prefix that all names share is ignored."""
    state = read_state(Path(path))
    targets: list[nn.Module] = [model]
    if (plain := model.regular()) is not None:
        targets.append(plain)
    found = [(target, *_prefixed(_tensors(target), state)) for target in targets]
    target, prefix, _ = max(found, key=lambda row: row[2])
    own = _tensors(target)
    given = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    taken = [name for name, tensor in own.items() if _fits(tensor, given.get(name))]
    if not taken:
        raise BadDocument(
            f"weights {path}",
            [f"none of its {len(state)} tensors fits the network: it begins with {_some(state)}"],
            fix=f"the network expects names like {_some(own)}",
        )
    with torch.no_grad():
        for name in taken:
            own[name].copy_(given[name])
    return Loaded(
        tuple(taken),
        tuple(name for name in own if name not in given),
        tuple(name for name in own if name in given and name not in taken),
        tuple(name for name in state if name.removeprefix(prefix) not in own),
    )


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name."""
    if not path.is_file():
        raise NotFound(
            f"there is no weights file {path}", fix="give a .safetensors file or a torch state dict"
        )
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:
        first = next(iter(str(problem).splitlines()), type(problem).__name__)
        raise BadDocument(
            f"weights {path}",
            [f"holds more than tensors, or is damaged: {first}"],
            fix="save it as safetensors",
        ) from None
    if isinstance(found, Mapping):
        # Checkpoints of many projects keep the state one level down.
        found = next((found[k] for k in ("state_dict", "model") if isinstance(found.get(k), Mapping)), found)
    state = (
        {k: t for k, t in found.items() if isinstance(t, torch.Tensor)} if isinstance(found, Mapping) else {}
    )
    if not state:
        raise BadDocument(f"weights {path}", ["holds no tensors by name"], fix="save a state dict")
    return state


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t for name, t in module.state_dict(keep_vars=True).items() if isinstance(t, torch.Tensor)}


def _prefixed(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> tuple[str, int]:
    """The prefix under which most of a network's tensors are found, and how many those are."""
    heads = {
        name[: i + 1] for name in state for i, c in enumerate(name) if c == "." and name.count(".", 0, i) < 2
    }
    counts = {p: sum(_fits(t, state.get(p + name)) for name, t in own.items()) for p in ("", *sorted(heads))}
    best = max(counts, key=lambda p: (counts[p], -len(p)))
    return best, counts[best]


def _fits(tensor: torch.Tensor, given: torch.Tensor | None) -> bool:
    return given is not None and given.shape == tensor.shape and given.dtype == tensor.dtype


def _some(names: Iterable[str]) -> str:
    rows = list(names)
    return ", ".join(rows[:3]) + (", ..." if len(rows) > 3 else "")
