"""Frozen dataclasses as JSON, and back, with every bad field reported at once.

Rules: a document names its kind and version; unknown fields are refused, so that a typing error is not
silently ignored; what is printed parses back to an equal value. It serves every noun, here and in `plan`.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from ..errors import BadDocument

VERSION = 1
# A profile of 2,000 stages is about 1 MB; whatever is far larger is not one of ours.
LARGEST = 256 * 1024 * 1024

_T = TypeVar("_T")
_BAD: Any = object()


def kind_of(noun: type) -> str:
    """What a noun is called in documents and errors: `SlicePlan` is a slice plan."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", noun.__name__).lower()


def _a(kind: str) -> str:
    return f"{'an' if str(kind)[:1] in 'aeiou' else 'a'} {kind}"


def dump(value: object, *, indent: int | None = 1) -> str:
    """A noun as JSON."""
    document = {"partita": kind_of(type(value)), "version": VERSION, **_plain_fields(value)}
    return json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)


def load(noun: type[_T], text: str, *, name: str = "") -> _T:
    """A noun from JSON. `name` is the file it came from, for the error."""
    kind = kind_of(noun)
    what = f"{kind} {name!r}" if name else kind
    fix = f"correct the fields named, or let Partita write the {kind} again"
    if len(text) > LARGEST:
        raise BadDocument(what, [f"{len(text)} characters are more than the {LARGEST} accepted"], fix=fix)
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadDocument(what, [f"is not JSON: {error}"], fix=fix) from None
    problems: list[str] = []
    if not isinstance(document, dict):
        raise BadDocument(what, [f"is {_brief(document)}, not an object"], fix=fix)
    if (got := document.pop("partita", kind)) != kind:
        raise BadDocument(what, [f"is {_a(got)}, not {_a(kind)}"], fix=f"give {_a(kind)} file")
    if (version := document.pop("version", VERSION)) != VERSION:
        raise BadDocument(
            what, [f"version: {version!r} is not {VERSION}"], fix="update Partita on this machine"
        )
    value = _read(noun, document, "", problems)
    if problems:
        raise BadDocument(what, problems, fix=fix)
    return cast("_T", value)


def _plain_fields(value: object) -> dict[str, Any]:
    written = {}
    for field in fields(value):  # type: ignore[arg-type]  # callers pass dataclasses only
        inner = getattr(value, field.name)
        if not _is_default(field, inner):
            written[field.name] = _plain(inner)
    return written


def _is_default(field: Field[Any], value: object) -> bool:
    if field.default is not MISSING:
        return bool(value == field.default)
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return False


def _plain(value: object) -> Any:
    if is_dataclass(value):
        return _plain_fields(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return [_plain(inner) for inner in value]
    return value


@lru_cache(maxsize=128)
def _hints(noun: type) -> dict[str, Any]:
    return typing.get_type_hints(noun)


def _read(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    """The value as `kind`; otherwise a problem is noted and _BAD comes back."""
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _read_fields(cast("type", kind), value, path, problems)
    if origin is Literal:
        return (
            value if value in get_args(kind) else _refuse(path, f"one of {get_args(kind)}", value, problems)
        )
    if origin in (Union, types.UnionType):
        return _read_union(kind, value, path, problems)
    if origin is tuple:
        return _read_tuple(kind, value, path, problems)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(kind, value, path, problems)
    if isinstance(kind, type) and issubclass(kind, Enum):
        names = [member.value for member in kind]
        return (
            kind(value)
            if value in names
            else _refuse(path, f"one of {', '.join(map(str, names))}", value, problems)
        )
    return _read_scalar(kind, value, path, problems)


def _read_scalar(kind: type, value: Any, path: str, problems: list[str]) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (str, bool) and isinstance(value, kind):
        return value
    names = {float: "a finite number", int: "a whole number", str: "a text", bool: "true or false"}
    return _refuse(path, names[kind], value, problems)


def _read_fields(noun: type, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        return _refuse(path, "an object", value, problems)
    hints = _hints(noun)
    known = {field.name: field for field in fields(noun) if field.init}
    prefix = f"{path}." if path else ""
    before = len(problems)
    problems += [f"{prefix}{name}: is not a field" for name in value if name not in known]
    read: dict[str, Any] = {}
    for name, field in known.items():
        if name in value:
            read[name] = _read(hints[name], value[name], prefix + name, problems)
        elif field.default is MISSING and field.default_factory is MISSING:
            problems.append(f"{prefix}{name}: is missing")
    if len(problems) > before:
        return _BAD
    try:
        return noun(**read)
    except BadDocument as error:
        problems += [f"{prefix}{problem}" for problem in error.problems]
        return _BAD


def _read_union(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    for choice in get_args(kind):
        if choice is type(None):
            if value is None:
                return None
            continue
        trial: list[str] = []
        read = _read(choice, value, path, trial)
        if not trial:
            return read
    choices = [getattr(c, "__name__", str(c)) for c in get_args(kind) if c is not type(None)]
    if len(choices) == 1:  # an optional value: say what is wrong inside it
        return _read(next(c for c in get_args(kind) if c is not type(None)), value, path, problems)
    return _refuse(path, " or ".join(choices), value, problems)


def _read_tuple(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, list):
        return _refuse(path, "a list", value, problems)
    args = get_args(kind)
    if args[-1] is Ellipsis:
        return tuple(_read(args[0], inner, f"{path}[{i}]", problems) for i, inner in enumerate(value))
    if len(args) != len(value):
        return _refuse(path, f"a list of {len(args)}", value, problems)
    return tuple(
        _read(arg, inner, f"{path}[{i}]", problems)
        for i, (arg, inner) in enumerate(zip(args, value, strict=True))
    )


def _read_mapping(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        return _refuse(path, "an object", value, problems)
    key_kind, value_kind = get_args(kind)
    read: dict[Any, Any] = {}
    for key, inner in value.items():
        if key_kind is int:
            try:
                number = int(key)
            except ValueError:
                _refuse(f"{path}.{key}", "a whole number as its name", key, problems)
                continue
            read[number] = _read(value_kind, inner, f"{path}.{key}", problems)
        else:
            read[key] = _read(value_kind, inner, f"{path}.{key}", problems)
    return read


def _refuse(path: str, wanted: str, value: object, problems: list[str]) -> Any:
    problems.append(f"{path}: expected {wanted}, got {_brief(value)}")
    return _BAD


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."
