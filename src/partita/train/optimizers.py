"""Optimizers as data: read from text or from one of torch's own, checked, and made for named parameters.

Rules: every number is checked against the signature of torch's class, and all problems are listed at once; what is a
choice of implementation (foreach, fused) is no number of a training; a truth is written 1 or 0, betas as beta1, beta2.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import nn

from ..errors import BadDocument
from .settings import Optimizing

OPTIMIZERS: Final[Mapping[str, Any]] = {
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
# Arguments that say how to compute, or that have a name of their own here.
_APART = frozenset(["self", "params", "lr", "foreach", "fused", "capturable", "differentiable"])
_FIX: Final = "write for example sgd:0.05,momentum=0.9,nesterov=1 or adamw:0.001,beta1=0.9,clip=1"
_PAIR = re.compile(r"([a-z][a-z0-9_]*)=(\S+)\Z")


def options_of(name: str) -> dict[str, float]:
    """The numbers that an optimizer takes besides its rate, with torch's own values for them."""
    found: dict[str, float] = {}
    for key, parameter in inspect.signature(OPTIMIZERS[name]).parameters.items():
        if key == "betas":
            found |= {"beta1": parameter.default[0], "beta2": parameter.default[1]}
        elif key not in _APART and isinstance(parameter.default, (bool, int, float)):
            found[key] = parameter.default
    return found


def parse_optimizing(text: str) -> Optimizing:
    """An optimizer from its text: name, rate, other numbers. Without a rate it has the one torch gives it."""
    first, *rest = [word.strip() for word in text.split(",")]
    name, _, rate = first.partition(":")
    pairs = [_PAIR.match(word) for word in rest]
    problems = [
        f"{word!r} is not like momentum=0.9" for word, pair in zip(rest, pairs, strict=True) if not pair
    ]
    said = [("rate", rate)] if rate else []
    said += [(pair[1], pair[2]) for pair in pairs if pair]
    numbers: dict[str, float] = {}
    for key, value in said:
        if key in numbers:
            problems.append(f"{key} is there twice")
        try:
            numbers[key] = float(value)
        except ValueError:
            problems.append(f"{key}: {value!r} is not a number")
    if problems:
        # The names of the numbers are looked at too, so that one attempt shows everything.
        raise BadDocument("optimizer", problems + _unknown(name, numbers.keys() - {"rate", "clip"}), fix=_FIX)
    clip = numbers.pop("clip", 0.0)
    default = _default_rate(name) if name in OPTIMIZERS else 0.0
    return checked(Optimizing(name, numbers.pop("rate", default), numbers, clip))


def checked(spec: Optimizing) -> Optimizing:
    """The same, if torch has such an optimizer and it takes these numbers."""
    problems = _unknown(spec.name, spec.options)
    if not problems:
        known = options_of(spec.name)
        problems = [
            f"{key}: {value:g} is not 1 or 0"
            for key, value in spec.options.items()
            if isinstance(known[key], bool) and value not in (0, 1)
        ]
    if not problems:
        try:
            make_optimizer(spec, [("", nn.Parameter(torch.zeros(())))])
        except ValueError as problem:
            problems.append(str(problem))
    if problems:
        raise BadDocument("optimizer", problems, fix=_FIX)
    return spec


def _unknown(name: str, keys: Iterable[str]) -> list[str]:
    if name not in OPTIMIZERS:
        return [f"{name!r} is not one of {', '.join(OPTIMIZERS)}"]
    known = options_of(name)
    return [f"{name} takes no {key}, but {', '.join(known)}" for key in keys if key not in known]


def _default_rate(name: str) -> float:
    return float(inspect.signature(OPTIMIZERS[name]).parameters["lr"].default)


def make_optimizer(spec: Optimizing, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """Torch's optimizer over these parameters."""
    known = options_of(spec.name)
    options: dict[str, Any] = {
        key: bool(value) if isinstance(known[key], bool) else value
        for key, value in spec.options.items()
        if key not in ("beta1", "beta2")
    }
    if "beta1" in known:
        options["betas"] = tuple(float(spec.options.get(key, known[key])) for key in ("beta1", "beta2"))
    made: torch.optim.Optimizer = OPTIMIZERS[spec.name](
        [parameter for _, parameter in named], lr=spec.rate, **options
    )
    return made


def optimizing_of(optimizer: torch.optim.Optimizer, model: nn.Module | None = None) -> Optimizing:
    """One of torch's optimizers as data. With `model`, its parameters must be those that the model trains."""
    name = next((name for name, kind in OPTIMIZERS.items() if type(optimizer) is kind), None)
    if name is None:
        raise BadDocument(
            "optimizer",
            [f"{type(optimizer).__name__} is not one of {', '.join(OPTIMIZERS)}"],
            fix="use one of these: both sides make their own from its name and numbers",
        )
    known = options_of(name)
    rows = [_numbers(group, known) for group in optimizer.param_groups]
    problems = [
        f"group {i} has {key} {row[key]:g} and group 0 has {rows[0][key]:g}"
        for i, row in enumerate(rows)
        for key in row
        if row[key] != rows[0][key]
    ]
    problems += _left_out(optimizer, model)
    if problems:
        raise BadDocument(
            "optimizer",
            problems,
            fix="give all parameters the same numbers in one group, and call requires_grad_(False) on what stays as it is",
        )
    options = {key: value for key, value in rows[0].items() if key in known and value != known[key]}
    return checked(Optimizing(name, rows[0]["lr"], options))


def _numbers(group: Mapping[str, Any], known: Mapping[str, float]) -> dict[str, float]:
    found = {"lr": float(group["lr"])}
    if "betas" in group:
        found |= {"beta1": float(group["betas"][0]), "beta2": float(group["betas"][1])}
    return found | {key: float(group[key]) for key in known if key in group}


def _left_out(optimizer: torch.optim.Optimizer, model: nn.Module | None) -> list[str]:
    if model is None:
        return []
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = {id(parameter) for parameter in model.parameters()}
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    problems = (
        [f"it does not hold {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"] if missing else []
    )
    if held - own:
        problems.append("it holds parameters that are not the model's")
    return problems
