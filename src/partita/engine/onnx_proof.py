"""Evidence that a model in parts gives the numbers of the model whole.

Rules: the whole is run by the engine's own means, not by our parts; the difference is stated for every output,
and 0.0 means equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from .base import Array, Values, largest_difference
from .onnx_model import OnnxModel


@dataclass(frozen=True)
class Proof:
    """What came out of running a model whole and cut at `cuts`: the largest difference of every output."""

    model: str
    cuts: tuple[int, ...]
    level: str
    differences: Mapping[str, float]

    @property
    def largest(self) -> float:
        """The largest difference of all outputs."""
        return max(self.differences.values(), default=0.0)

    @property
    def equal(self) -> bool:
        """Whether every output is the same bit for bit."""
        return self.largest == 0.0

    def __str__(self) -> str:
        where = ", ".join(map(str, self.cuts)) or "nowhere"
        result = "equal bit for bit" if self.equal else f"differs by up to {self.largest:.3g}"
        return f"{self.model} cut at {where} ({self.level}): {result}"


def run_parts(model: OnnxModel, cuts: Sequence[int], values: Mapping[str, Array]) -> Values:
    """What the parts between some cuts give, one after the other, each with its own inputs only."""
    chain = model.chain
    ends = [0, *cuts, len(chain)]
    held: Values = dict(values)
    for start, stop in pairwise(ends):
        part = model.part(start, stop)
        held |= part.forward({name: held[name] for name in part.inputs})
    return {name: held[name] for name in chain.outputs}


def prove(
    model: OnnxModel,
    cuts: Sequence[int],
    values: Mapping[str, Array] | None = None,
    *,
    batch: int | None = None,
    seed: int = 0,
) -> Proof:
    """Run a model whole and cut, with the same settings and inputs, and compare every output."""
    given = model.example(batch, seed) if values is None else values
    whole, split = model.whole(given), run_parts(model, sorted(cuts), given)
    differences = {n: largest_difference({n: split[n]}, {n: whole[n]}) for n in whole}
    return Proof(model.chain.name, tuple(sorted(cuts)), model.settings.level, MappingProxyType(differences))
