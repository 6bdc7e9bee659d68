"""A wire codec as the planner sees it: its exact bytes, and its error measured on what a rectified layer gives.

`plan` knows the usual codecs by heart but may not import the wire; this asks the wire itself, for every name it takes.
"""

from __future__ import annotations

import numpy as np

from ..plan import CodecOption
from ..wire import decode, parse_codec

# A quarter of a million values: errors are stable to two digits, and measuring takes a millisecond or two.
_VALUES = 1 << 18


def codec_option(name: str) -> CodecOption:
    """What the codec of this name does to bytes and values."""
    codec = parse_codec(name)
    features = np.abs(np.random.default_rng(0).standard_normal(_VALUES, dtype=np.float32)).reshape(1, 64, -1)
    encoded = codec.encode(features)
    gap = decode(encoded).astype(np.float64) - features
    error = float(np.linalg.norm(gap) / np.linalg.norm(features))
    if name == "raw" or "lossless" in name:
        # How far a tensor packs depends on it; what packs a half-normal one is at work on others too.
        return CodecOption(factor=encoded.nbytes / features.nbytes, error=error)
    small = codec.encoded_bytes("float32", (1, 64, 1))
    large = codec.encoded_bytes("float32", features.shape)
    per_element = (large - small) / (features.size - 64)
    return CodecOption(per_element=per_element, per_tensor=max(small - 64 * per_element, 0.0), error=error)
