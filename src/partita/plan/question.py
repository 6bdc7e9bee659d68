"""What the planner is asked: everything about a plan that is wished for and not measured.

Rules: all bad fields are reported at once; the defaults ask for inference, one sample at a time, with codecs that
lose less than one per cent; nothing here depends on a device or a link.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Literal, get_args

from ..errors import BadDocument
from ..graph import Chain, Cut
from .codec_option import DEFAULT_CODECS, RAW, CodecOption, codec_options
from .placement import Mode, Objective

Way = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a message costs besides its tensors, as measured on the wire.

    `seconds` is added to its way and occupies nothing; `cpu` occupies the processor at both ends; `bytes` is its
    header; `share` is added to every byte (frames, retransmission), 0.01 for one per cent.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    bytes: float = 0.0
    share: float = 0.0


@dataclass(frozen=True)
class Question:
    """One question to the planner.

    `dims` binds dimensions besides `batch`. `codecs` may be used on float tensors; `options` describes codecs of the
    caller's own or replaces built-in figures; `codecs_up` and `codecs_down`, where given, are the only ones of their
    way, whatever they lose. `max_window` bounds K, `window` fixes it; `jitter` adds one to a K that is used, and a K
    above 0 must save the share `worth` of a training step.
    `two_cuts` admits plans that come back to the first place for their last stages. `labels_private` keeps the loss
    at the first place; `min_front` and `min_tail` keep so many first and last stages there. `inputs_at_cloud` says
    that the second place holds the inputs. `frozen` is how many first stages have nothing to train; `constant` names
    the parameters and buffers that training never changes, which both places may hold; `legal`, where given, the only
    positions that may be cut. `optimizer_copies` is what the optimizer keeps per parameter (1: momentum,
    2: Adam). `alpha` and `beta` weigh staleness and codec error in the two objectives of time. `joules_per_byte` is
    the radio's. `rescore` is how many leading plans are simulated where the closed form is a bound only.
    """

    objective: Objective = "throughput"
    mode: Mode = "infer"
    batch: int = 1
    dims: Mapping[str, int] = field(default_factory=dict)
    codecs: tuple[str, ...] = DEFAULT_CODECS
    options: Mapping[str, CodecOption] = field(default_factory=dict)
    codecs_up: tuple[str, ...] | None = None
    codecs_down: tuple[str, ...] | None = None
    max_error: float | None = None
    max_window: int = 4
    window: int | None = None
    jitter: bool = False
    worth: float = 0.0
    two_cuts: bool = True
    labels_private: bool = False
    label_bytes: int = 0
    min_front: int = 0
    min_tail: int = 0
    inputs_at_cloud: bool = False
    frozen: int = 0
    constant: frozenset[str] = frozenset()
    legal: frozenset[int] | None = None
    optimizer_copies: int = 1
    alpha: float = 0.0
    beta: float = 0.0
    joules_per_byte: float = 0.0
    overhead: Overhead = Overhead()
    rescore: int = 6

    def __post_init__(self) -> None:
        for name in ("dims", "options"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        problems = self._problems()
        if problems:
            raise BadDocument("question", problems, fix="`partita plan --help` lists what can be asked")

    def _problems(self) -> list[str]:
        problems = [
            f"{name}: {getattr(self, name)!r} is not one of {', '.join(get_args(kind))}"
            for name, kind in (("objective", Objective), ("mode", Mode))
            if getattr(self, name) not in get_args(kind)
        ]
        if self.batch < 1:
            problems.append(f"batch: {self.batch!r} is below 1")
        amounts = (
            "max_window", "worth", "label_bytes", "min_front", "min_tail", "frozen", "optimizer_copies", "alpha",
            "beta", "joules_per_byte", "rescore",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in amounts}
        if self.window is not None:
            values["window"] = self.window
        values |= {f"overhead.{n}": getattr(self.overhead, n) for n in ("seconds", "cpu", "bytes", "share")}
        problems += [
            f"{name}: {value!r} is not zero or more"
            for name, value in values.items()
            if not (isfinite(value) and value >= 0)
        ]
        if self.inputs_at_cloud and self.min_front:
            problems.append(
                "min_front: the first stages cannot stay private where the inputs are in the cloud"
            )
        return problems

    def bind(self) -> dict[str, int]:
        """Values of the open dimensions."""
        return {"batch": self.batch, **self.dims}

    def admitted(self, way: Way | None = None) -> dict[str, CodecOption]:
        """The codecs that may be used, on one way or on any, with raw where an error bound leaves nothing else."""
        if way is None:
            return self.admitted("up") | self.admitted("down")
        fixed = self.codecs_up if way == "up" else self.codecs_down
        if fixed is not None:
            return codec_options(fixed, self.options)
        known = codec_options(self.codecs, self.options)
        bound = float("inf") if self.max_error is None else self.max_error
        fine = {name: option for name, option in known.items() if option.error <= bound}
        return fine or codec_options([RAW], self.options)

    @property
    def windows(self) -> tuple[int, ...]:
        """Every K that a plan over a link may have."""
        if self.window is not None:
            return (self.window,)
        # One step alone is what latency asks for: more steps under way would only queue before it.
        return tuple(range(1 if self.objective == "latency" else self.max_window + 1))

    def resumed(self, chain: Chain) -> int:
        """Where a replay begins: at the last position behind frozen stages alone that can be cut."""
        return max(c.position for c in chain.cuts if c.position <= self.frozen and self.cuttable(c))

    def cuttable(self, cut: Cut) -> bool:
        """Whether this question admits a cut: the two ends always."""
        ends = not cut.after or not cut.before
        return cut.legal and (ends or self.legal is None or cut.position in self.legal)

    def tensor_bytes(self, chain: Chain) -> dict[str, int]:
        """Raw bytes of every tensor that can travel; 0 for those that never cross a legal cut."""
        bind = self.bind()
        return {name: t.nbytes(bind) if t.travels else 0 for name, t in chain.tensors.items()}
