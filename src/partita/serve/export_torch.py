"""The PyTorch end of an export: a network with exits as one ONNX file with an output for every exit.

Rules: the only module of the export that knows torch; what comes back are arrays and a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..engine import Array
from ..engine.torch_onnx import export_onnx
from .exits import MultiExit

# Two rows, so that the exporter does not take the batch for a constant.
_TRACED_ROWS = 2


@dataclass(frozen=True)
class TorchExits:
    """What was written: the outputs in the order of the exits, and what PyTorch answers to `inputs`."""

    path: Path
    outputs: tuple[str, ...]
    inputs: dict[str, Array]
    logits: tuple[Array, ...]


class _Named(nn.Module):
    """Every exit under its own name, for inputs under theirs."""

    def __init__(self, model: MultiExit, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.outputs = model, tuple(outputs)

    def forward(self, *input: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: A002  # its name is the input's
        return dict(zip(self.outputs, self.model(*input), strict=True))


class _NamedOne(_Named):
    """The same for networks with one input, which then needs no number."""

    def forward(self, input: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]  # noqa: A002
        return dict(zip(self.outputs, self.model(input), strict=True))


def write_torch(model: MultiExit, folder: Path) -> TorchExits:
    """Write the network into a folder, in its eval mode."""
    example = tuple(tensor.detach() for tensor in model.example(_TRACED_ROWS))
    outputs = _output_names(model.names)
    wrapped = (_NamedOne if len(example) == 1 else _Named)(model, outputs)
    was = model.training
    model.eval()
    wrapped.training = False
    try:
        written = export_onnx(wrapped, example, {}, folder / "network.onnx")
        with torch.no_grad():
            logits = tuple(tensor.numpy().copy() for tensor in model(*example))
    finally:
        model.train(was)
    inputs = {name: tensor.numpy() for name, tensor in zip(written.inputs, example, strict=True)}
    return TorchExits(written.path, tuple(outputs), inputs, logits)


def _output_names(names: Sequence[str]) -> list[str]:
    """The user's names where ONNX and the exporter take them as they are."""
    plain = all(name.isidentifier() and not name.startswith("input") for name in names)
    return (
        list(names) if plain and len(set(names)) == len(names) else [f"exit_{k}" for k in range(len(names))]
    )
