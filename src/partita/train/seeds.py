"""Where random numbers start, step by step.

Rules: a function of the training's seed, the step and the part, and of nothing else, so that a step that is repeated
after a crash, a replay or a move draws the same numbers; neighbouring steps have nothing in common.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

# The unsplit step: with K = 0 all parts of a step draw from one row of numbers.
WHOLE: Final = -1


def step_seed(seed: int, step: int, part: int = WHOLE) -> int:
    """The seed of one step, or of the part that starts at stage `part` in it: 63 bits, what every generator takes."""
    digest = blake2b(f"{seed}/{step}/{part}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
