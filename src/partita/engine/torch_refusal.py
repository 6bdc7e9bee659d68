"""Why a module cannot be captured, in one sentence: the line of model code, the operator, and the way out.

torch.export explains itself in tracebacks of 80 lines. Rule: the user reads the line of their own code and what
to do about it; the whole story stays behind as the error's cause.
"""

from __future__ import annotations

import linecache
import re
import sysconfig
import traceback
from pathlib import Path
from typing import Any

import torch

from ..errors import CannotCapture
from .torch_signature import Signature, run_once

_TORCH = Path(torch.__file__).parent
_HERE = Path(__file__).parent
_STDLIB = Path(sysconfig.get_path("stdlib"))

# Longer excerpts of torch's own words stop explaining.
_LONGEST_CAUSE = 160

_DATA = (
    "the flow of control depends on the data there: write it with torch.where or torch.cond, take the number from"
    " a shape or a configuration instead, or capture the submodules before and after it as models of their own"
)
_BREAK = (
    "Python code that torch cannot follow runs there: move it out of forward, or capture the submodules before and"
    " after it as models of their own"
)
_REGISTER = (
    "register the class: torch.export.register_dataclass for a dataclass, torch.utils._pytree.register_pytree_node"
    " for any other; or return tuples and dictionaries"
)
_SHAPES = "pass dynamic_shapes that the model admits, or none: the batch size is found by itself"
_OTHER = "rewrite that line, or capture the submodules around it as models of their own"

# Torch's words, and what they mean for the user; the first that is found counts.
_WAYS_OUT = (
    (r"data-dependent|GuardOnDataDependent|Dynamic control flow|data dependent", _DATA),
    (r"[Uu]nsupported.*input type|pytree|unregistered|register_dataclass", _REGISTER),
    (r"[Cc]onstraint|dynamic_shapes|dynamic shapes", _SHAPES),
    (r"graph break|Unsupported|not supported|skip|proxy|FakeTensor|numpy|\.item\(\)|script", _BREAK),
)


def refusal(
    module: torch.nn.Module, example: Signature, problem: Exception, where: str = ""
) -> CannotCapture:
    """The error for the user. The module is run once without tracing: if that fails too, that is the news."""
    name = type(module).__name__
    own = _failure_without_tracing(module, example)
    if own is not None:
        return CannotCapture(
            f"{name} fails on the example inputs{where}, even uncut: {_cause(own)}{_place(own)}",
            fix="pass example inputs that the model runs on: capture_torch(module, args=(...), kwargs={...})",
        )
    text = str(problem)
    advice = next((way for pattern, way in _WAYS_OUT if re.search(pattern, text, re.DOTALL)), _OTHER)
    return CannotCapture(f"{name} cannot be captured{where}: {_cause(problem)}{_place(problem)}", fix=advice)


def _failure_without_tracing(module: torch.nn.Module, example: Signature) -> Exception | None:
    try:
        run_once(module, example)
    except Exception as problem:
        return problem
    return None


def _cause(problem: Exception) -> str:
    """The first line that says something."""
    lines = (line.strip() for line in str(problem).splitlines())
    said = next((line for line in lines if line), "").partition(" (unhinted")[0]
    short = said if len(said) <= _LONGEST_CAUSE else said[: _LONGEST_CAUSE - 1] + "…"
    return f"{type(problem).__name__}: {short}" if short else type(problem).__name__


def _place(problem: BaseException) -> str:
    """The line of model code, innermost first; libraries of models count as model code, torch does not."""
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(problem.__traceback__)
        if _is_model_code(frame.filename)
    ]
    frames += _told(problem)
    for filename, number in reversed(frames):
        line = linecache.getline(filename, number or 0).strip()
        if line:
            return f" (at {Path(filename).name}:{number}: `{line}`)"
    return ""


def _told(problem: BaseException) -> list[tuple[str, int | None]]:
    """Places that torch names in its message, where the traceback does not reach the model's own code."""
    found: list[tuple[str, int | None]] = []
    for filename, number in re.findall(r'File "([^"]+)", line (\d+)', str(problem)):
        if _is_model_code(filename):
            found.append((filename, int(number)))
    return found


def _is_model_code(filename: Any) -> bool:
    path = Path(str(filename))
    if not path.is_file():
        return False
    inside = any(path.is_relative_to(folder) for folder in (_TORCH, _HERE))
    library = path.is_relative_to(_STDLIB) and "site-packages" not in path.parts
    return not inside and not library
