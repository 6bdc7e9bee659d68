"""Tensors of one direction, encoded or decoded on one side, with what is done about the losses of the codec.

    none       nothing
    residual   the sender remembers what was lost of a sample and adds it the next time
    delta      both ends remember a sample's tensor, and only the difference travels
    taylor     the sender keeps E = decoded - original of a step and changes the gradient g that comes back into
               g - E*g*g: the correction of the original paper, here for comparison; it has no measurable effect

Rules: the two ends of a direction are built with the same codec, feedback, version and capacity, and see the same
messages in the same order; what goes without memory follows from type, shape and ids alone, so both ends agree. Lossy
codecs touch floats only. Arrays that were decoded may be read-only views of what arrived: nobody writes to them.
What is only looked at (held-out samples) takes a lane of its own, with feedback `none`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from ..engine import Array, Values
from ..errors import BadDocument, FrameCorrupt
from ..graph import TensorSpec
from ..wire import DeltaMemory, Encoded, ResidualMemory, decode, parse_codec
from .checkpoints_digest import values_digest
from .roles import Roles
from .settings import Feedback, Settings

__all__ = ["Lane", "lanes_of", "memory_bytes"]

Ids = NDArray[np.integer[Any]]
Memory = ResidualMemory | DeltaMemory

# Of one message, all tensors together: what one tensor may take at most anywhere on the wire.
_MOST_BYTES: Final = 1 << 30
# The steps whose errors `taylor` keeps: wider than any window that helps, and a bound where no gradient comes back.
_MOST_STEPS: Final = 64
_FLOATS: Final = frozenset({"float16", "bfloat16", "float32", "float64"})


@final
class Lane:
    """One direction on one side: an encoder at one end, a decoder at the other.

    `capacity` is the number of samples that a memory holds, of every tensor. `notes` says in sentences which tensors
    go without a memory that was asked for.
    """

    def __init__(self, codec: str, feedback: Feedback, *, version: int, capacity: int) -> None:
        self.codec = parse_codec(codec)
        self.feedback = feedback
        self.version = version
        self.capacity = capacity
        self.notes: set[str] = set()
        # A codec that loses nothing leaves nothing to remember.
        self._remembers = feedback in ("residual", "delta") and self.codec.name.kind != "raw"
        self._memories: dict[str, Memory] = {}
        self._widths: dict[str, int] = {}
        self._errors: dict[int, Values] = {}
        if self._remembers:
            self._memory()  # refuses a codec or capacity that no memory can have

    def encode(self, step: int, values: Mapping[str, Array], ids: Ids | None) -> dict[str, Encoded]:
        """The tensors of one step, ready to travel. Those that travel raw are views: leave the arrays as they are."""
        found = {name: self._encode_one(step, name, array, ids) for name, array in values.items()}
        if self.feedback == "taylor":
            self._keep_errors(step, values, found)
        return found

    def decode(self, tensors: Mapping[str, Encoded], ids: Ids | None, *, limit: int = _MOST_BYTES) -> Values:
        """The tensors again; together they take at most `limit` bytes."""
        values: Values = {}
        for name, encoded in tensors.items():
            values[name] = self._decode_one(name, encoded, ids, limit)
            limit -= values[name].nbytes
        return values

    def correct(self, step: int, slopes: Mapping[str, Array]) -> Values:
        """The gradients of what was encoded in this step, with the correction of `taylor`; otherwise as they are."""
        errors = self._errors.pop(step, {})
        return {name: _corrected(slope, errors.get(name)) for name, slope in slopes.items()}

    def reset(self, version: int) -> None:
        """Another plan is in force, so that the tensors are others: both ends forget everything."""
        self.version = version
        self._memories.clear()
        self._widths.clear()
        self.notes.clear()
        self.forget()

    def forget(self) -> None:
        """Drop what is kept for steps that are under way; memories stay."""
        self._errors.clear()

    def export(self) -> Values:
        """The memories for a checkpoint, as `TENSOR/ids`, `TENSOR/rows`, `TENSOR/plan` and `TENSOR/turn`."""
        return {
            f"{name}/{key}": array
            for name, memory in self._memories.items()
            for key, array in memory.export().items()
        }

    def load(self, values: Mapping[str, Array]) -> None:
        """Take over exported memories under the version of this lane, all or none."""
        parts: dict[str, dict[str, Array]] = {}
        for path, array in values.items():
            name, _, key = path.rpartition("/")
            parts.setdefault(name, {})[key] = array
        if parts and not self._remembers:
            raise BadDocument(
                "memories",
                [
                    f"{name!r} has one, and feedback {self.feedback} with {self.codec} keeps none"
                    for name in parts
                ],
                fix="load the checkpoint with the codecs and feedback that it was written with",
            )
        loaded = {name: self._memory() for name in parts}
        for name, memory in loaded.items():
            memory.load({**parts[name], "plan": np.array(self.version)})
        self._memories = loaded
        self._widths = {name: part["rows"].shape[1] for name, part in parts.items() if len(part["rows"])}
        self.forget()

    def digest(self) -> str:
        """Equal at both ends if they will understand each other: how they are built, and what `delta` holds."""
        shared = self.export() if self.feedback == "delta" else {}
        built = f"{self.codec} {self.feedback} {self.version} {self.capacity}"
        return values_digest(shared, built)

    @property
    def nbytes(self) -> int:
        """What the memories take now, and what is kept for steps under way."""
        kept = sum(array.nbytes for errors in self._errors.values() for array in errors.values())
        return kept + sum(memory.nbytes for memory in self._memories.values())

    def _encode_one(self, step: int, name: str, array: Array, ids: Ids | None) -> Encoded:
        if not self._fits(name, array.dtype.name, array.shape, ids) or ids is None:
            return self.codec.encode(array, draw=step)
        memory = self._memory_of(name, array.shape)
        if isinstance(memory, ResidualMemory):
            return memory.encode(ids, array)
        return memory.encode(ids, array)[0]

    def _decode_one(self, name: str, encoded: Encoded, ids: Ids | None, limit: int) -> Array:
        head = encoded.head
        meant = self.feedback == "delta" and self._fits(name, head.dtype, head.shape, ids)
        if meant != (head.meta.get("memory") == "delta"):
            raise FrameCorrupt(
                f"tensor {name!r} of {head.dtype} {head.shape} came {'without' if meant else 'with'} a delta memory",
                fix="begin the run again: both ends must use the same codec, feedback and sample ids",
            )
        memory = self._memory_of(name, head.shape) if meant else None
        if ids is None or not isinstance(memory, DeltaMemory):
            return decode(encoded, limit=limit)
        return memory.decode(ids, encoded, limit=limit)

    def _fits(self, name: str, dtype: str, shape: tuple[int, ...], ids: Ids | None) -> bool:
        """Whether a tensor goes through a memory; if not although it could lose something, a note says why."""
        if not self._remembers or dtype not in _FLOATS:
            return False
        if ids is None:
            why = "its batch came without sample ids"
        elif not shape or shape[0] != len(ids):
            why = f"its first axis is no batch: shape {list(shape)} for {len(ids)} samples"
        elif self._widths.get(name, prod(shape[1:])) != prod(shape[1:]):
            why = f"its samples have {prod(shape[1:])} values here and {self._widths[name]} before"
        else:
            return True
        self.notes.add(f"tensor {name!r} goes without {self.feedback} memory where {why}")
        return False

    def _memory_of(self, name: str, shape: tuple[int, ...]) -> Memory:
        self._widths.setdefault(name, prod(shape[1:]))
        if name not in self._memories:
            self._memories[name] = self._memory()
        return self._memories[name]

    def _memory(self) -> Memory:
        made = ResidualMemory if self.feedback == "residual" else DeltaMemory
        return made(self.codec, capacity=self.capacity, plan=self.version)

    def _keep_errors(self, step: int, values: Mapping[str, Array], found: Mapping[str, Encoded]) -> None:
        lossy = {
            name: array
            for name, array in values.items()
            if array.dtype.name in _FLOATS and parse_codec(found[name].head.codec).name.kind != "raw"
        }
        errors = {
            name: decode(found[name]).astype(np.float32) - array.astype(np.float32)
            for name, array in lossy.items()
        }
        self._errors[step] = errors
        while len(self._errors) > _MOST_STEPS:
            del self._errors[min(self._errors)]


def lanes_of(roles: Roles, settings: Settings, version: int, capacity: int) -> dict[str, Lane]:
    """The four directions under a plan, built alike on both sides. What `taylor` corrects are features only."""
    up, down = roles.up_hop, roles.down_hop
    kinds: tuple[Feedback, Feedback] = settings.feedback, settings.feedback_down
    slopes: list[Feedback] = ["none" if kind == "taylor" else kind for kind in kinds]
    return {
        "features_up": Lane(up.forward, kinds[0], version=version, capacity=capacity),
        "slopes_down": Lane(up.back, slopes[1], version=version, capacity=capacity),
        "features_down": Lane(down.forward, kinds[1], version=version, capacity=capacity),
        "slopes_up": Lane(down.back, slopes[0], version=version, capacity=capacity),
    }


def memory_bytes(specs: Iterable[TensorSpec], sizes: Mapping[str, int], batch: int, capacity: int) -> int:
    """The bytes that the memories of these tensors take at most: capacity times what one sample is.

    `sizes` gives the open dimensions, the batch (of `batch` samples) among them. Tensors that go without memory count
    nothing.
    """
    shapes = [spec.bound(sizes) for spec in specs if spec.dtype in _FLOATS]
    rows = (prod(shape[1:]) for shape in shapes if shape and shape[0] == batch)
    return capacity * np.dtype(np.float32).itemsize * sum(rows)


def _corrected(slope: Array, error: Array | None) -> Array:
    if error is None or error.shape != slope.shape:
        return slope
    corrected: Array = slope - error * slope * slope
    return corrected.astype(slope.dtype)
