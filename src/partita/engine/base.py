"""What an engine offers: a captured model, and the parts of it that run.

Rules: a value is a numpy array under its tensor's name (bfloat16 and float8 through ml_dtypes); a part takes
exactly its inputs and gives exactly its outputs; a part keeps its own state and shares nothing with others,
except that parts of one captured model in one process share its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..graph import Chain

Array = NDArray[Any]
Values = dict[str, Array]
Mode = Literal["train", "eval"]


class Part(Protocol):
    """The stages [start, stop) of one model, ready to run."""

    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...
    @property
    def inputs(self) -> tuple[str, ...]:
        """The names it reads: `chain.part_inputs(start, stop)`."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names it gives: `chain.part_outputs(start, stop)`."""
        ...

    def forward(self, values: Mapping[str, Array]) -> Values:
        """Outputs from inputs, nothing kept."""
        ...


@runtime_checkable
class Learner(Part, Protocol):
    """A part that can also be trained."""

    def forward_kept(self, values: Mapping[str, Array], key: int = 0) -> Values:
        """Outputs from inputs, with the graph kept under `key` for one `backward`."""
        ...

    def backward(self, gradients: Mapping[str, Array], key: int = 0) -> Values:
        """Gradients of the inputs from those of the outputs; adds to the parameters' own gradients.

        An output without an entry counts as zero. An input that has no gradient (integers) has no entry.
        """
        ...

    def gradients(self) -> Values:
        """The parameters' gradients so far, by parameter name."""
        ...

    def zero_gradients(self) -> None:
        """Forget the parameters' gradients."""
        ...

    def set_mode(self, mode: Mode) -> None:
        """Train or eval, for dropout and normalisation alike."""
        ...

    def state(self) -> Values:
        """Parameters and buffers by the names the model gives them."""
        ...

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take parameters and buffers; names, types and shapes must match."""
        ...


class Captured(Protocol):
    """A model as a chain, with the means to run any part of it."""

    @property
    def chain(self) -> Chain: ...

    def part(self, start: int, stop: int) -> Part:
        """The stages [start, stop); refuses ends that are no legal cuts."""
        ...

    def example(self, batch: int | None = None, seed: int = 0) -> Values:
        """Inputs of the right types and shapes: the user's own at their batch size, else made up."""
        ...

    def whole(self, values: Mapping[str, Array]) -> Values:
        """What the model gives uncut, by the engine's own means: the oracle of every split."""
        ...


def largest_difference(left: Mapping[str, Array], right: Mapping[str, Array]) -> float:
    """The largest absolute difference between two sets of values; 0.0 means equal bit for bit, NaN positions included."""
    worst = 0.0
    for name in left.keys() | right.keys():
        if (
            name not in left
            or name not in right
            or left[name].shape != right[name].shape
            or left[name].dtype != right[name].dtype
        ):
            return float("inf")
        a, b = left[name], right[name]
        if a.tobytes() == b.tobytes():
            continue
        wide = (
            a.astype(np.complex128 if np.iscomplexobj(a) else np.float64),
            b.astype(np.complex128 if np.iscomplexobj(b) else np.float64),
        )
        gap = np.abs(wide[0] - wide[1])
        both = (np.isnan(wide[0]) & np.isnan(wide[1])) | (wide[0] == wide[1])
        gap = np.where(both, 0.0, np.where(np.isnan(gap), np.inf, gap))
        worst = max(worst, float(gap.max(initial=0.0)))
    return worst
