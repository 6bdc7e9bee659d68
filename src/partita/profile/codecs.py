"""What codecs cost on this device, in seconds per raw byte each way.

Rules: the same rounds as for stages; one tensor of typical values, large enough that the cost of a call vanishes;
a codec is a pair of callables, or a name that the wire knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from ..engine import Array
from ..graph import CodecCost
from .rounds import Effort, Job, run_rounds, timing

Encode = Callable[[Array], Any]
Decode = Callable[[Any], Array]

# 1 MB: a feature map of an edge network, and past the point where a call's own cost is seen.
_VALUES: Final = 1 << 18
_CHANNELS: Final = 64


def typical_features(values: int = _VALUES, seed: int = 0) -> Array:
    """Half-normal values in 64 channels, half of them zero: what a rectified layer gives."""
    drawn = np.random.default_rng(seed).standard_normal((1, _CHANNELS, values // _CHANNELS), dtype=np.float32)
    return np.maximum(drawn, 0)


def measure_codec_pairs(
    pairs: Mapping[str, tuple[Encode, Decode]], *, sample: Array | None = None, effort: Effort | None = None
) -> dict[str, CodecCost]:
    """The cost of each named pair of encode and decode on a sample tensor."""
    effort = effort or Effort(seconds=0.1, budget=5.0)
    array = typical_features() if sample is None else sample
    jobs: list[Job] = []
    for encode, decode in pairs.values():
        encoded = encode(array)
        jobs += [partial(encode, array), partial(decode, encoded)]
    if not jobs:
        return {}
    samples = run_rounds(jobs, effort, effort.clock() + effort.budget)
    costs = [timing(row, effort.quantile).median / array.nbytes for row in samples]
    return {name: CodecCost(costs[2 * at], costs[2 * at + 1]) for at, name in enumerate(pairs)}


def measure_codecs(
    names: Sequence[str], *, sample: Array | None = None, effort: Effort | None = None
) -> dict[str, CodecCost]:
    """The cost of codecs by the names that plans and frames use."""
    from ..wire import decode, parse_codec

    pairs = {name: (parse_codec(name).encode, decode) for name in names}
    return measure_codec_pairs(pairs, sample=sample, effort=effort)
