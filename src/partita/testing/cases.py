"""Made-up cases for simulated trainings: few blocks with round numbers, so that a test can reckon by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Chain, CodecCost, Device, DType, Profile, Stage, StageCost, TensorSpec, Timing
from ..plan import Question
from ..train import Case

FREE = CodecCost(0.0, 0.0)
SIZES = (1000, 4000, 2000, 500, 10)


def made_chain(sizes: Sequence[int] = SIZES, params: int = 4000) -> Chain:
    """A row of blocks; `sizes` are float32 elements of one row, at each cut from the inputs to the answer."""
    names = [f"t{i}" for i in range(len(sizes))]
    tensors = {
        name: TensorSpec(name, DType.FLOAT32, ("batch", n)) for name, n in zip(names, sizes, strict=True)
    }
    stages = tuple(
        Stage(f"block{i}", (names[i],), (names[i + 1],), (f"w{i}",)) for i in range(len(sizes) - 1)
    )
    return Chain(
        "made",
        "none",
        stages,
        tensors,
        (names[0],),
        (names[-1],),
        {f"w{i}": params for i in range(len(stages))},
    )


def made_profile(chain: Chain, forward: Sequence[float], *, batch: int = 10, device: str = "made") -> Profile:
    """Forward seconds by block; a way back takes twice as long. Codecs cost nothing."""
    rows = tuple(
        StageCost(stage.name, {batch: Timing(seconds)}, {batch: Timing(2 * seconds)}, 4000)
        for stage, seconds in zip(chain.stages, forward, strict=True)
    )
    whole = StageCost(chain.name, {batch: Timing(sum(forward))}, {batch: Timing(2 * sum(forward))})
    codecs = dict.fromkeys(("raw", "int8"), FREE)
    return Profile(chain.name, chain.digest, Device(device), rows, whole, codecs, source="made up")


def made_case(
    edge: Sequence[float] = (0.01, 0.03, 0.03, 0.03),
    cloud: Sequence[float] = (0.002, 0.006, 0.006, 0.006),
    *,
    sizes: Sequence[int] = SIZES,
    params: int = 4000,
    **asked: Any,
) -> Case:
    """A slow edge and a fast cloud. `asked` are fields of the question."""
    chain = made_chain(sizes, params)
    profiles = {
        "edge": made_profile(chain, edge, device="small"),
        "cloud": made_profile(chain, cloud, device="large"),
    }
    question = Question(**{"mode": "train", "batch": 10, "codecs": ("raw", "int8"), **asked})
    return Case("made", chain, profiles, question)
