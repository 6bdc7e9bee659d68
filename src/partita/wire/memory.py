"""What a lossy codec lost, remembered per sample and sent later: residual and delta memory.

    residual   sender only:  u = x + e        send C(u)        e <- u - D(C(u))
    delta      both ends:    send C(x - m)    m <- m + D(C(x - m))    the tensor is m

Four rules. Rows belong to sample ids, not to places in the batch: row 3 is another sample in the next step.
Both ends of a delta memory do the same float operations in the same order, so they stay equal bit for bit; each message
carries its turn and plan version, and one that does not follow is refused rather than decoded into noise.
A tensor that cannot be coded (NaN, overflow) travels raw and leaves the memory as it was.
An unbiased codec is refused: its errors are large and cancel only on average, and feeding them back adds them up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, FrameCorrupt, PartFailed
from .codec import Codec, decode, encode_raw
from .codec_head import MAX_TENSOR_BYTES, Encoded, check_head
from .codec_plain import dtype_of
from .codec_sizes import FLOATS
from .memory_table import RowTable

__all__ = ["DeltaMemory", "ResidualMemory"]

Array = NDArray[Any]
Ids = Sequence[int] | NDArray[np.integer[Any]]
Kind = Literal["residual", "delta"]


@final
class ResidualMemory:
    """Error feedback at the sender: what was lost of a sample is added to it the next time it is sent."""

    def __init__(self, codec: Codec, *, capacity: int, half: bool = False, plan: int = 0) -> None:
        self._state = _State("residual", codec, capacity, half, plan)

    def encode(self, ids: Ids, array: Array) -> Encoded:
        """Encode a batch whose row i is sample ids[i]. The receiver just decodes; it needs no memory."""
        state = self._state
        keys, rows = state.batch(ids, array)
        memory = state.table.read(keys, rows.shape[1], rows.dtype)
        # A sample twice in one batch: its error is added once, and the errors of both are kept.
        memory[_repeats(keys)] = 0
        wanted = rows + memory
        encoded, gained = state.encode(wanted, array)
        if gained is not None:
            state.table.write(keys, _summed(keys, wanted - gained))
        return encoded

    def reset(self, plan: int) -> None:
        """Forget everything when the plan moved: the cut is another tensor now."""
        self._state.reset(plan)

    def export(self) -> dict[str, Array]:
        """The state as arrays, for a checkpoint."""
        return self._state.export()

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take over an exported state."""
        self._state.load(arrays)

    @property
    def nbytes(self) -> int:
        """What the rows take now."""
        return self._state.table.nbytes


@final
class DeltaMemory:
    """Both ends remember what the receiver has of each sample; only the difference travels. One object per end."""

    def __init__(self, codec: Codec, *, capacity: int, half: bool = False, plan: int = 0) -> None:
        self._state = _State("delta", codec, capacity, half, plan)

    def encode(self, ids: Ids, array: Array) -> tuple[Encoded, Array]:
        """Encode a batch whose row i is sample ids[i]; also returns what the receiver will have of it."""
        state = self._state
        keys, rows = state.batch(ids, array)
        memory = state.table.read(keys, rows.shape[1], rows.dtype)
        encoded, gained = state.encode(rows - memory, array)
        if gained is None:
            return encoded, array
        return encoded, state.advance(keys, memory, gained, array)

    def decode(self, ids: Ids, encoded: Encoded, *, limit: int = MAX_TENSOR_BYTES) -> Array:
        """The batch as the sender knows that we have it; a message out of turn is a `FrameCorrupt`."""
        state = self._state
        meta = encoded.head.meta
        for field, want in (("memory", state.kind), ("plan", state.plan), ("turn", state.turn)):
            if meta.get(field) != want:
                _diverged(f"meta.{field} is {meta.get(field)!r} and must be {want!r}")
        check_head(encoded.head, limit)
        keys = state.check_ids(ids, encoded.head.shape, encoded.head.dtype, _diverged)
        array = decode(encoded, limit=limit)
        state.turn += 1
        if encoded.fell_back:
            return array
        gained = _as_rows(array)
        memory = state.table.read(keys, gained.shape[1], gained.dtype)
        return state.advance(keys, memory, gained, array)

    def reset(self, plan: int) -> None:
        """Forget everything when the plan moved; both ends do so at the same message."""
        self._state.reset(plan)

    def export(self) -> dict[str, Array]:
        """The state as arrays, for a checkpoint of either end."""
        return self._state.export()

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take over an exported state."""
        self._state.load(arrays)

    @property
    def nbytes(self) -> int:
        """What the rows take now."""
        return self._state.table.nbytes


@final
class _State:
    """What the two memories share: the table, the turn, and the checks."""

    def __init__(self, kind: Kind, codec: Codec, capacity: int, half: bool, plan: int) -> None:
        problems = []
        if codec.unbiased:
            problems.append(f"codec {codec} is unbiased, and a memory would add its errors up")
        if capacity < 1:
            problems.append(f"capacity {capacity} is not at least 1 sample")
        if problems:
            fix = "use a codec that rounds to nearest (int8, int4, topk:0.1) and a capacity of your dataset's size"
            raise BadDocument(f"{kind} memory", problems, fix=fix)
        self.kind = kind
        self.codec = codec
        self.plan = plan
        self.turn = 0
        self.table = RowTable(capacity, np.dtype(np.float16 if half else np.float32))

    def reset(self, plan: int) -> None:
        self.plan, self.turn = plan, 0
        self.table.clear()

    def batch(self, ids: Ids, array: Array) -> tuple[list[int], Array]:
        """The checked ids and the rows in the working type."""
        return self.check_ids(ids, array.shape, array.dtype.name, _misused), _as_rows(array)

    def check_ids(self, ids: Ids, shape: tuple[int, ...], dtype: str, refuse: Any) -> list[int]:
        if dtype not in FLOATS or not shape:
            refuse(f"a {dtype} tensor of shape {shape} is not a batch of floats")
        keys = np.asarray(ids)
        if keys.ndim != 1 or (keys.size and keys.dtype.kind not in "iu") or keys.size != shape[0]:
            refuse(f"ids of {keys.dtype} and shape {keys.shape} do not name {shape[0]} samples")
        width = math.prod(shape[1:])
        if self.table.width not in (None, width):
            refuse(f"a sample of {width} values does not follow one of {self.table.width}")
        return [int(key) for key in keys]

    def encode(self, rows: Array, array: Array) -> tuple[Encoded, Array | None]:
        """The rows encoded in the tensor's own type, and what the receiver makes of them; None if it travels raw."""
        with np.errstate(over="ignore"):  # an overflow is seen by the next line
            content = rows.astype(array.dtype).reshape(array.shape)
        encoded = self.codec.encode(content) if np.isfinite(content).all() else None
        if encoded is None or encoded.fell_back:
            # The content was a sum or difference; what falls back is the tensor itself.
            encoded = encode_raw(array, instead_of=self.codec.name, why="non-finite or out of range")
        meta = {**encoded.head.meta, "memory": self.kind, "plan": self.plan, "turn": self.turn}
        self.turn += 1
        encoded = replace(encoded, head=msgspec.structs.replace(encoded.head, meta=meta))
        return encoded, None if encoded.fell_back else _as_rows(decode(encoded, limit=array.nbytes))

    def advance(self, keys: list[int], memory: Array, gained: Array, like: Array) -> Array:
        """m <- m + gained, on either end."""
        with np.errstate(over="ignore"):  # clipped when it is stored
            memory += gained
            self.table.write(keys, memory)
            return memory.astype(like.dtype).reshape(like.shape)

    def export(self) -> dict[str, Array]:
        ids, rows = self.table.items()
        return {"ids": ids, "rows": rows, "plan": np.array(self.plan), "turn": np.array(self.turn)}

    def load(self, arrays: Mapping[str, Array]) -> None:
        problems = _state_problems(arrays, self.table)
        if problems:
            raise BadDocument(
                f"{self.kind} memory state", problems, fix="load what export() of such a memory gave"
            )
        self.reset(int(arrays["plan"]))
        self.turn = int(arrays["turn"])
        self.table.write([int(key) for key in arrays["ids"]], arrays["rows"])


def _state_problems(arrays: Mapping[str, Array], table: RowTable) -> list[str]:
    missing = [f"{key} is missing" for key in ("ids", "rows", "plan", "turn") if key not in arrays]
    if missing:
        return missing
    ids, rows = arrays["ids"], arrays["rows"]
    problems = []
    if ids.ndim != 1 or ids.dtype != np.int64 or len(set(ids.tolist())) != len(ids):
        problems.append(f"ids of {ids.dtype} and shape {ids.shape} are not distinct 64-bit ids")
    elif len(ids) > table.capacity:
        problems.append(f"{len(ids)} ids are more than the capacity of {table.capacity}")
    if rows.ndim != 2 or len(rows) != len(ids) or rows.dtype != table.dtype:
        problems.append(
            f"rows of {rows.dtype} and shape {rows.shape} are not one row of {table.dtype} per id"
        )
    problems += [f"{key} is not a whole number" for key in ("plan", "turn") if not _is_number(arrays[key])]
    return problems


def _is_number(array: Array) -> bool:
    return array.ndim == 0 and array.dtype.kind in "iu"


def _as_rows(array: Array) -> Array:
    """Samples as rows in the working type: float32, or float64 for float64."""
    work = np.float64 if array.dtype == dtype_of("float64") else np.float32
    return array.reshape(len(array), math.prod(array.shape[1:])).astype(work)


def _repeats(keys: list[int]) -> list[int]:
    seen: set[int] = set()
    return [at for at, key in enumerate(keys) if key in seen or seen.add(key)]  # type: ignore[func-returns-value]  # add returns None, which is the point


def _summed(keys: list[int], errors: Array) -> Array:
    """Errors with those of repeated samples added together, in each of their rows."""
    first: dict[int, int] = {}
    group = [first.setdefault(key, at) for at, key in enumerate(keys)]
    if len(first) == len(keys):
        return errors
    total = np.zeros_like(errors)
    np.add.at(total, group, errors)
    return total[group]


def _misused(problem: str) -> NoReturn:
    fix = "give one memory to each tensor name, whole-number ids for its first axis, and reset() when the plan moves"
    raise PartFailed(f"memory: {problem}", fix=fix)


def _diverged(problem: str) -> NoReturn:
    fix = "reset both ends with the same plan version, or load both from the same checkpoint"
    raise FrameCorrupt(f"delta memory: {problem}", fix=fix)
