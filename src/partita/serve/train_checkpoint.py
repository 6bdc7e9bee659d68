"""Where a training stands, on disk: killed at any moment, it goes on and ends with the same weights.

Rules: one file, written beside and moved into place, so that there is always one whole checkpoint; it holds tensors and
plain text; what it belongs to is written in it, and another training does not go on from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..engine.torch_state import StateBook, load_file, save_file
from ..errors import CorruptArtifact, PartitaError
from .exits import MultiExit

NAME = "state.safetensors"


@dataclass(frozen=True)
class Standing:
    """The place in a training: the epoch and step that come next, what the epoch has summed up so far, and the trace."""

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seen: int = 0
    right: tuple[int, ...] = ()
    seconds: float = 0.0
    trace: tuple[Mapping[str, float], ...] = ()


def save_checkpoint(
    folder: Path, model: MultiExit, optimizer: torch.optim.Optimizer, standing: Standing, key: str
) -> None:
    """Write everything that the rest of the training depends on."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": tensor for name, tensor in StateBook.of(model).persistent().items()}
    for index, values in optimizer.state_dict()["state"].items():
        found = {k: v for k, v in values.items() if isinstance(v, torch.Tensor)}
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in found.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    # Copies on the CPU: two values of one memory cannot be written.
    kept = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    text = json.dumps({**vars(standing), "trace": [dict(row) for row in standing.trace]})
    save_file(folder / NAME, kept, {"standing": text, "key": key})


def load_checkpoint(
    folder: Path, model: MultiExit, optimizer: torch.optim.Optimizer, key: str
) -> Standing | None:
    """Put network, optimizer and random numbers back where they stood; None where there is no checkpoint."""
    path = folder / NAME
    if not path.is_file():
        return None
    tensors = load_file(path)
    try:
        standing = _standing(path, key)
        own = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        StateBook.of(model).load(own, f"checkpoint {path}")
        _fill_optimizer(optimizer, tensors)
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
    except (KeyError, ValueError, TypeError, PartitaError) as problem:
        raise CorruptArtifact(
            f"the checkpoint {path} does not belong to this training: {problem}",
            fix=f"train into another folder, or remove {folder} to begin anew",
        ) from problem
    return standing


def _standing(path: Path, key: str) -> Standing:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        about = file.metadata()
    if about["key"] != key:
        raise ValueError("it is that of other arguments or other data")
    found = json.loads(about["standing"])
    return Standing(**{**found, "right": tuple(found["right"]), "trace": tuple(found["trace"])})


def _fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".", 2)
            state.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
