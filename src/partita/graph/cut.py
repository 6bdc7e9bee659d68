"""A boundary between two stages, with the tensors that cross it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .tensor import TensorSpec, bytes_formula


@dataclass(frozen=True, slots=True)
class Cut:
    """The boundary at `position`: that many stages lie before it.

    `tensors` are all values made before it that are read after it, skip connections included. `shared` names
    parameters that both sides use. `reason` says why the model cannot be cut here, or is empty where it can.
    """

    position: int
    after: str
    before: str
    tensors: tuple[TensorSpec, ...]
    shared: tuple[str, ...] = ()
    reason: str = ""

    @property
    def legal(self) -> bool:
        """Whether the parts on both sides give the same numbers as the whole."""
        return not self.reason

    @property
    def formula(self) -> str:
        """The bytes that cross, as a function of the open dimensions."""
        return bytes_formula(self.tensors)

    def nbytes(self, bind: Mapping[str, int]) -> int:
        """The raw bytes that cross once, with every open dimension bound."""
        return sum(tensor.nbytes(bind) for tensor in self.tensors)

    def gradient_bytes(self, bind: Mapping[str, int]) -> int:
        """The raw bytes that come back in training: gradients exist for float tensors only."""
        return sum(tensor.nbytes(bind) for tensor in self.tensors if tensor.dtype.is_float)
