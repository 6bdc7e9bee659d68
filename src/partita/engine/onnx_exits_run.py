"""Sessions for the parts of a network with exits: on the device asked for, and with nothing in the way of a run.

Rules: a provider that is not there is refused by name, never replaced in silence; arrays go in and come out without a
copy (ONNX Runtime gives numpy its own memory, four times faster than through its handles for a small part); one
session may run in several threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final

from ..errors import BadDocument, PartFailed
from .base import Array
from .onnx_run import OnnxPart, RunSettings, onnx_providers, reason, session_options
from .onnx_values import needs_handles

_SUFFIX = "ExecutionProvider"
_CPU = f"CPU{_SUFFIX}"


class Runner(Protocol):
    """A part, loaded."""

    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...

    def run(self, values: Mapping[str, Array]) -> Sequence[Array]:
        """The outputs in order; of `values` it takes those it reads."""
        ...


def chosen_providers(asked: Sequence[str] | None) -> tuple[str, ...]:
    """Providers by ONNX Runtime's names, the processor last. Short names (`cuda`) are understood in any case."""
    there = onnx_providers() or (_CPU,)
    known = {name.removesuffix(_SUFFIX).lower(): name for name in there}
    short = [name.removesuffix(_SUFFIX).lower() for name in asked or ()]
    missing = [name for name, key in zip(asked or (), short, strict=True) if key not in known]
    if missing:
        raise BadDocument(
            "providers",
            [f"{name!r} is not in this ONNX Runtime" for name in missing],
            fix=f"choose from {', '.join(sorted(known))}, or install the ONNX Runtime package that has it",
        )
    return tuple(dict.fromkeys([*(known[key] for key in short), _CPU]))


def open_runner(path: Path, settings: RunSettings, providers: Sequence[str]) -> Runner:
    """A part from its file, on these providers."""
    import onnxruntime as ort

    try:
        session = ort.InferenceSession(
            str(path), session_options(settings), providers=list(providers), enable_fallback=0
        )
    except Exception as error:
        raise PartFailed(
            f"ONNX Runtime cannot load {path} with {', '.join(providers)}: {reason(error)}",
            fix="export the network again on this machine; for a provider other than the processor with --optimize none",
        ) from error
    lost = [name for name in providers if name not in session.get_providers()]
    if lost:
        raise PartFailed(
            f"ONNX Runtime has {', '.join(lost)}, but it does not start here",
            fix="check its driver and libraries, or leave --provider away to run on the processor",
        )
    ends = [*session.get_inputs(), *session.get_outputs()]
    return _ByHandles(path, session) if needs_handles(ends) else _Direct(path, session)


@final
class _Direct:
    """Numpy in, numpy out."""

    def __init__(self, path: Path, session: Any) -> None:
        self.inputs = tuple(argument.name for argument in session.get_inputs())
        self.outputs = tuple(argument.name for argument in session.get_outputs())
        self._run, self._names, self._path = session.run, list(self.outputs), path

    def run(self, values: Mapping[str, Array]) -> Sequence[Array]:
        try:
            found: Sequence[Array] = self._run(self._names, {name: values[name] for name in self.inputs})
        except Exception as error:
            raise _failed(self._path, error) from error
        return found


@final
class _ByHandles:
    """For types that numpy lacks."""

    def __init__(self, path: Path, session: Any) -> None:
        self._part, self._path = OnnxPart.noted(session, None), path
        self.inputs, self.outputs = self._part.inputs, self._part.outputs

    def run(self, values: Mapping[str, Array]) -> Sequence[Array]:
        made = self._part.forward({name: values[name] for name in self.inputs})
        return [made[name] for name in self.outputs]


def _failed(path: Path, error: Exception) -> PartFailed:
    return PartFailed(
        f"{path.name} failed: {reason(error)}",
        fix="check the sizes of the inputs against the model's exits.json",
    )
