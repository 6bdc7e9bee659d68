"""How a model is named: one line of text, the same in every command and every document.

    torchvision:resnet18?weights=DEFAULT      timm:convnext_tiny?num_classes=10
    hf:bert  hf:path/to/folder                zoo:resnet-tiny
    path/to/model.onnx                        package.module:factory  path/to/file.py:factory

Rule: everything behind `?` is a keyword for whoever builds the model, except `weights`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from ..errors import BadReference

# Each form, and what it names. Printed with every refusal.
FORMS: dict[str, str] = {
    "torchvision:NAME": "a model of torchvision",
    "timm:NAME": "a model of timm",
    "hf:NAME_OR_FOLDER": "a transformers model type (hf:bert), a folder with config.json, or a name on the hub",
    "zoo:NAME": "a small network of our own",
    "FILE.onnx": "an ONNX file",
    "PACKAGE.MODULE:FACTORY": "a function that gives an nn.Module, or (module, args, kwargs)",
    "FILE.py:FACTORY": "the same, from a file",
}
LIBRARIES = ("torchvision", "timm", "hf", "zoo")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference. `form` is a library, `onnx`, `file` or `module`; `name` what to look for there."""

    text: str
    form: str
    name: str
    attribute: str = ""
    options: dict[str, object] = field(default_factory=dict)
    weights: str | None = None


def refuse(problem: str, name: str = "", known: Iterable[str] = ()) -> BadReference:
    """The error for a reference that names nothing: what is close to it, or which forms there are."""
    near = difflib.get_close_matches(name, list(known), n=3) if name else []
    fix = f"did you mean {', '.join(near)}?" if near else "write one of: " + ", ".join(FORMS)
    return BadReference(problem, fix=fix)


def parse_reference(text: str) -> Reference:
    """Read the text; nothing is imported or opened yet."""
    place, _, query = text.partition("?")
    options: dict[str, object] = {
        key: _value(value) for key, value in parse_qsl(query, keep_blank_values=True)
    }
    weights = options.pop("weights", None)
    form, name, attribute = _place(text, place)
    return Reference(text, form, name, attribute, options, None if weights is None else str(weights))


def _place(text: str, place: str) -> tuple[str, str, str]:
    if place.endswith(".onnx"):
        return "onnx", place, ""
    head, colon, rest = place.rpartition(":")
    prefix, _, name = place.partition(":")
    if prefix in LIBRARIES:
        if not name:
            raise refuse(f"the reference {text!r} names no model after {prefix!r}")
        return prefix, name, ""
    if colon and head and rest.isidentifier():
        return ("file" if head.endswith(".py") else "module"), head, rest
    if prefix != place:
        raise refuse(
            f"the reference {text!r} begins with {prefix!r}, which is no form of reference",
            prefix,
            LIBRARIES,
        )
    if Path(place).is_dir():
        raise BadReference(
            f"the reference {text!r} is a folder", fix=f"write hf:{place} for a folder with config.json"
        )
    raise refuse(f"the reference {text!r} has no form that names a model")


def _value(text: str) -> object:
    """Numbers and truth values as such, all else as text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
