"""What an optimizer's update of each stage costs, as a part of the stage's way back: a profile knows no optimizer.

Rules: measured on copies with gradients of their own, one stage at a time, so that nothing of the model moves and
little memory is taken; what a call costs by itself is paid once for all stages; on an accelerator nothing is added,
because there an update costs a call and next to nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Final

import torch

from ..engine.torch_model import TorchModel
from ..graph import Profile, StageCost, Timing
from .optimizers import make_optimizer
from .settings import Optimizing

# The first update makes what the optimizer keeps, and does not count.
_RUNS: Final = 5


def with_updates(
    profile: Profile, model: TorchModel, optimizing: Optimizing, *, quantile: float = 0.5
) -> Profile:
    """The profile with the seconds of an update added to the way back of every stage."""
    if model.device.type != "cpu":
        return profile
    call = _seconds([torch.zeros(1)], optimizing, quantile)
    taken = [_stage(model, index, optimizing, quantile) for index in range(len(model.chain))]
    learning = sum(seconds > 0 for seconds in taken)
    extra = [max(seconds - call, 0.0) + call / learning if seconds > 0 else 0.0 for seconds in taken]
    stages = tuple(_slower(stage, more) for stage, more in zip(profile.stages, extra, strict=True))
    return replace(profile, stages=stages, whole=_slower(profile.whole, sum(extra)))


def _stage(model: TorchModel, index: int, optimizing: Optimizing, quantile: float) -> float:
    tensors = [model.book[name] for name in model.part_params(index, index + 1, "train")]
    trained = [t for t in tensors if isinstance(t, torch.nn.Parameter) and t.requires_grad]
    return _seconds([t.detach().clone() for t in trained], optimizing, quantile) if trained else 0.0


def _seconds(tensors: Sequence[torch.Tensor], optimizing: Optimizing, quantile: float) -> float:
    named = [(str(at), torch.nn.Parameter(tensor)) for at, tensor in enumerate(tensors)]
    optimizer = make_optimizer(optimizing, named)
    for _, parameter in named:
        parameter.grad = torch.zeros_like(parameter)
    samples = []
    for _ in range(_RUNS + 1):
        began = perf_counter()
        optimizer.step()
        samples.append(perf_counter() - began)
    return sorted(samples[1:])[round(quantile * (_RUNS - 1))]


def _slower(cost: StageCost, seconds: float) -> StageCost:
    back: Mapping[int, Timing] = {
        batch: replace(row, median=row.median + seconds) for batch, row in cost.backward.items()
    }
    return replace(cost, backward=back)
