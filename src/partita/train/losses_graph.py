"""A loss of the user's own as data, so that the other side computes it without running any code of his.

Rules: it travels as a graph of allowed operators, like the model; it takes any batch size; a loss that cannot be
captured stays where the user is, and the sentence says how.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..engine import Values
from ..engine.torch_capture import capture_torch
from ..engine.torch_part import TorchPart
from ..engine.torch_portable import pack_torch, unpack_torch
from ..engine.torch_values import to_torch
from ..errors import BadDocument, CannotCapture
from .losses import Loss, Tensors


class _Wrapped(nn.Module):
    """A loss in the shape of a module, which is what can be captured."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss

    def forward(self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return self._loss(outputs, targets).reshape(())


def pack_loss(loss: Loss, outputs: Values, targets: Values) -> bytes:
    """The loss as a graph, from one batch of outputs and targets as an example."""
    example = [
        {name: to_torch(array).clone() for name, array in values.items()} for values in (outputs, targets)
    ]
    try:
        return pack_torch(capture_torch(_Wrapped(loss), tuple(example), name="loss", mode="train"))
    except CannotCapture as problem:
        raise CannotCapture(
            f"the loss cannot be sent to the cloud: {problem.problem}",
            fix="keep the loss at the edge with labels_private, or write it with operators of PyTorch only",
        ) from problem


@dataclass(frozen=True, slots=True)
class GraphLoss:
    """A loss that came as a graph. Outputs and targets that it does not read are left out."""

    part: TorchPart

    def __call__(self, outputs: Tensors, targets: Tensors, /) -> torch.Tensor:
        given = _named("outputs", outputs) | _named("targets", targets)
        (made,) = self.part.call({name: given[name] for name in self.part.inputs}).values()
        return made


def unpack_loss(data: bytes, device: str = "cpu") -> GraphLoss:
    """The loss from its graph."""
    model = unpack_torch(data, device=device)
    part = model.part(0, len(model.chain))
    part.set_mode("train")
    if len(part.outputs) != 1:
        raise BadDocument(
            "loss", [f"the graph gives {len(part.outputs)} values, not one"], fix="send it anew"
        )
    return GraphLoss(part)


def _named(side: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    """Names as the capture gives them: the argument, a dot, the key."""
    return {f"{side}.{name}": tensor for name, tensor in tensors.items()}
