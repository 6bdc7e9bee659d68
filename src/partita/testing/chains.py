"""Made-up chains: small, legal by construction, with skips, for tests of planners and printers."""

from __future__ import annotations

import random

from ..graph import Chain, DType, Stage, TensorSpec

_NAMES = ("conv", "layer1.0", "a b", "x->y", 'q"uote', "über", "h:0", "-", "|", "")
_DIMS: tuple[int | str, ...] = (2, "seq", "2*seq+1")
_DTYPES = (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16, DType.INT64, DType.BOOL)


def random_chain(seed: int, *, stages: int = 6, odd_names: bool = False) -> Chain:
    """A chain in which every stage reads the tensor before it, and some read older ones."""
    draw = random.Random(seed)  # noqa: S311 - made-up models, not secrets

    def named(kind: str, index: int) -> str:
        return f"{draw.choice(_NAMES)}{kind}{index}" if odd_names else f"{kind}{index}"

    made = [named("in", 0)]
    tensors = {made[0]: TensorSpec(made[0], DType.FLOAT32, ("batch", 3, 8))}
    params: dict[str, int] = {}
    row: list[Stage] = []
    for index in range(stages):
        reads = dict.fromkeys([made[-1], *draw.sample(made, min(len(made), draw.choice((0, 0, 1))))])
        output, param = named("t", index), named("w", draw.randrange(index + 1))
        shape: tuple[int | str, ...] = (
            "batch",
            draw.choice((1, 4, 64)),
            *draw.sample(_DIMS, draw.randrange(2)),
        )
        tensors[output] = TensorSpec(output, draw.choice(_DTYPES), shape)
        params[param] = params.get(param, draw.choice((0, 40, 4000)))
        row.append(
            Stage(
                named("s", index),
                tuple(reads),
                (output,),
                (param,),
                draw.randrange(9),
                draw.choice(("", "If")),
            )
        )
        made.append(output)
    return Chain("made-up", "none", tuple(row), tensors, (made[0],), (made[-1],), params)
