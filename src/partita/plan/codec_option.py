"""What a codec does to the bytes of a tensor, as the planner sees it: sizes and errors, no encoding.

Rules: only float tensors are coded, everything else travels raw; every codec is linear in elements, bytes and
tensors, so that sums over tensors are enough; a ratio that depends on the data is given by whoever measured it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import erf, exp, isfinite, pi, sqrt
from statistics import NormalDist

from ..errors import BadDocument

RAW = "raw"
# Lowest value and step of an affine code: two float32.
_AFFINE_HEAD = 8
# A kept value of top-k as float16; its position as uint16, or one bit for every element where that is less.
_KEPT_VALUE, _KEPT_PLACE, _BITMAP = 2, 2, 1 / 8
# What byte planes under zstd leave of features behind a ReLU. It depends on the data: give a CodecOption to be exact.
_LOSSLESS_LEAVES = 0.56


@dataclass(frozen=True, slots=True)
class CodecOption:
    """Bytes of a coded float tensor: `per_element` (or `factor` times its raw bytes) plus `per_tensor`.

    `error` is the relative error of what is decoded: the norm of the difference over the norm of the value.
    """

    per_element: float | None = None
    factor: float = 1.0
    per_tensor: float = 0.0
    error: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value!r} is not zero or more"
            for name, value in (
                ("per_element", self.per_element or 0.0),
                ("factor", self.factor),
                ("per_tensor", self.per_tensor),
                ("error", self.error),
            )
            if not (isfinite(value) and value >= 0)
        ]
        if problems:
            raise BadDocument("codec", problems, fix="give sizes and errors of zero or more")

    def encoded(self, elements: float, raw: float, tensors: float = 1) -> float:
        """The bytes of float tensors with so many elements and raw bytes in all, once coded."""
        body = self.factor * raw if self.per_element is None else self.per_element * elements
        return body + self.per_tensor * tensors


# Errors measured on a million half-normal values (what a ReLU leaves), from the lowest to the highest.
_KNOWN: Mapping[str, CodecOption] = {
    RAW: CodecOption(),
    "fp16": CodecOption(per_element=2, error=2.1e-4),
    "bf16": CodecOption(per_element=2, error=1.7e-3),
    "int8": CodecOption(per_element=1, per_tensor=_AFFINE_HEAD, error=5.4e-3),
    "int4": CodecOption(per_element=0.5, per_tensor=_AFFINE_HEAD, error=9.1e-2),
    "int2": CodecOption(per_element=0.25, per_tensor=_AFFINE_HEAD, error=4.55e-1),
    "lossless": CodecOption(factor=_LOSSLESS_LEAVES),
}
DEFAULT_CODECS: tuple[str, ...] = (RAW, "fp16", "int8")


def _top_k(head: str, *, wide: bool) -> CodecOption | None:
    """`topk:0.1` keeps a tenth of the values; its error is the share of the norm that normal values lose."""
    kind, _, text = head.partition(":")
    try:
        share = float(text)
    except ValueError:
        return None
    if kind != "topk" or not 0 < share <= 1:
        return None
    size = share * _KEPT_VALUE * (2 if wide else 1) + min(share * _KEPT_PLACE, _BITMAP)
    if share == 1:
        return CodecOption(per_element=size)
    edge = NormalDist().inv_cdf(1 - share / 2)
    lost = erf(edge / sqrt(2)) - edge * sqrt(2 / pi) * exp(-(edge**2) / 2)
    return CodecOption(per_element=size, error=sqrt(lost))


def _known(name: str) -> CodecOption | None:
    """A codec by its name: `int8`, `int4/channel:1`, `topk:0.05/fp32`, any of them with `+lossless`."""
    base = name.removesuffix("+lossless")
    head, *extras = base.split("/")
    option = _KNOWN.get(head) or _top_k(head, wide="fp32" in extras)
    if option is None or base == name:
        return option
    size = None if option.per_element is None else option.per_element * _LOSSLESS_LEAVES
    return replace(option, per_element=size, factor=option.factor * _LOSSLESS_LEAVES)


def codec_options(
    names: Iterable[str], given: Mapping[str, CodecOption] | None = None
) -> dict[str, CodecOption]:
    """The named codecs, the caller's own numbers first; unknown names are refused together."""
    found: dict[str, CodecOption] = {}
    problems: list[str] = []
    for name in names:
        option = (given or {}).get(name) or _known(name)
        if option is None:
            problems.append(f"{name!r} is not known")
        else:
            found[name] = option
    if problems:
        known = ", ".join([*_KNOWN, "topk:0.1"])
        raise BadDocument("codecs", problems, fix=f"choose from {known}, or describe it with a CodecOption")
    if not found:
        raise BadDocument("codecs", ["there are none"], fix="give at least raw")
    return found
