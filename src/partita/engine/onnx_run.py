"""Parts of an ONNX model, run by ONNX Runtime. Works without the onnx package.

Rules: a part and the whole run with the same settings, or their numbers cannot be compared; threads never spin,
because several sessions in one process would starve each other (three times slower, measured); `exact` keeps
every graph optimisation off, which is what makes split equal to whole bit for bit.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from ..errors import BadDocument, BadReference, PartFailed, UserError
from .base import Array, Values
from .onnx_values import dtype_of, from_handle, needs_handles, problems, to_handle

Level = Literal["exact", "basic", "extended", "all"]
_LEVELS = {
    "exact": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
# ONNX Runtime 1.31 reports to its maker and writes a file for it, unless this is set before it is imported. A user
# who wants that says so by setting it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Under this key a part file says which part it is, so that it can be loaded without the model.
METADATA = "partita.part"
# ONNX Runtime logs to stderr from C++; what fails also raises, and that is where we report it.
_FATAL_ONLY = 4
_LONGEST_REASON = 600


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How ONNX Runtime runs a part. `threads` 0 takes every core.

    `prepack` rearranges weights at load for speed, at the price of a copy of them; it changes the last bits of
    matrix products, so it belongs to the numbers as `level` does.
    """

    threads: int = 0
    level: Level = "exact"
    prepack: bool = True

    def __post_init__(self) -> None:
        found = [] if self.threads >= 0 else [f"threads: must be at least 0, not {self.threads}"]
        if self.level not in _LEVELS:
            found.append(f"level: must be one of {', '.join(_LEVELS)}, not {self.level!r}")
        if found:
            raise BadDocument("run settings", found, fix="see RunSettings")


def session_options(settings: RunSettings) -> Any:
    """The same settings in ONNX Runtime's words."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[settings.level])
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    for pool in ("intra", "inter"):
        options.add_session_config_entry(f"session.{pool}_op.allow_spinning", "0")
    if not settings.prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def open_session(model: bytes | Path, settings: RunSettings) -> Any:
    """A session on the CPU; raises what ONNX Runtime raises."""
    import onnxruntime as ort

    source = model if isinstance(model, bytes) else str(model)
    # With fallback, ONNX Runtime prints on an error, tries the same once more and fails again.
    return ort.InferenceSession(
        source, session_options(settings), providers=["CPUExecutionProvider"], enable_fallback=0
    )


def reason(error: Exception) -> str:
    """What ONNX Runtime says, without its codes and C++ places."""
    lines = str(error).strip().splitlines()
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", lines[0]) if lines else type(error).__name__
    return re.sub(r"/\S+\.(?:cc|h|hpp):\d+ .*?\)(?: const)?(?: \[with [^]]*\])? ", "", said)[:_LONGEST_REASON]


def onnx_providers() -> tuple[str, ...]:
    """The execution providers of the installed ONNX Runtime, best first; empty where it is not installed."""
    try:
        import onnxruntime as ort
    except ImportError:
        return ()
    return tuple(ort.get_available_providers())


@final
class OnnxPart:
    """The stages [start, stop) of one ONNX model, loaded."""

    def __init__(
        self,
        session: Any,
        start: int,
        stop: int,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        model: str = "",
        weights: Callable[[], str] | None = None,
    ) -> None:
        self._session, self._weights = session, weights
        self._start, self._stop = start, stop
        self._inputs, self._outputs = inputs, outputs
        self._model = model
        self._arguments = list(session.get_inputs()) if session else []
        made = list(session.get_outputs()) if session else []
        self._made = [argument.name for argument in made if argument.name in outputs]
        self._handles = needs_handles([*self._arguments, *made])

    @classmethod
    def load(cls, path: str | Path, settings: RunSettings | None = None) -> OnnxPart:
        """A part from its file (see `write_parts`), or any ONNX file as a part of its own."""
        path = Path(path)
        if not path.is_file():
            raise BadReference(f"there is no file {path}", fix="give the path of a part's .onnx file")
        try:
            session = open_session(path, settings or RunSettings())
        except Exception as error:
            raise PartFailed(
                f"ONNX Runtime cannot load {path}: {reason(error)}",
                fix="cut the model again with this version of onnxruntime",
            ) from error
        note = session.get_modelmeta().custom_metadata_map.get(METADATA)
        return cls.noted(session, note)

    @classmethod
    def noted(cls, session: Any, note: str | None) -> OnnxPart:
        """A part from a session and the note in its file."""
        if note is None:
            inputs = tuple(argument.name for argument in session.get_inputs())
            outputs = tuple(argument.name for argument in session.get_outputs())
            return cls(session, 0, 1, inputs, outputs)
        try:
            fields = json.loads(note)
            start, stop = int(fields["start"]), int(fields["stop"])
            inputs, outputs = tuple(map(str, fields["inputs"])), tuple(map(str, fields["outputs"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadDocument(
                "part file", [f"{METADATA}: {error!r} in its metadata"], fix="cut the model again"
            ) from error
        return cls(session, start, stop, inputs, outputs, str(fields.get("model", "")))

    def __repr__(self) -> str:
        return (
            f"OnnxPart([{self._start}:{self._stop}], {', '.join(self._inputs)} -> {', '.join(self._outputs)})"
        )

    @property
    def model(self) -> str:
        """The digest of the chain it was cut from; empty for a file that nobody cut."""
        return self._model

    @property
    def weights(self) -> str:
        """The digest of the model's weights, computed when asked for; empty for a part from a file of its own."""
        return self._weights() if self._weights is not None else ""

    @property
    def start(self) -> int:
        """Its first stage."""
        return self._start

    @property
    def stop(self) -> int:
        """The stage after its last."""
        return self._stop

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names it reads."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names it gives."""
        return self._outputs

    def forward(self, values: Mapping[str, Array]) -> Values:
        """Outputs from inputs. A name that is both passes through."""
        found = problems(values, self._inputs, self._arguments)
        if found:
            raise BadDocument(
                f"inputs of part [{self._start}:{self._stop}]",
                found,
                fix=f"give exactly these, as numpy arrays: {', '.join(self._inputs) or 'nothing'}",
            )
        made = self._run(values) if self._made else {}
        return {name: made[name] if name in made else values[name] for name in self._outputs}

    def _run(self, values: Mapping[str, Array]) -> Values:
        feed = {argument.name: values[argument.name] for argument in self._arguments}
        try:
            if not self._handles:
                return dict(zip(self._made, self._session.run(self._made, feed), strict=True))
            handles = {a.name: to_handle(values[a.name], dtype_of(a.type)) for a in self._arguments}
            results = self._session.run_with_ort_values(self._made, handles)
            return dict(zip(self._made, map(from_handle, results), strict=True))
        except (UserError, PartFailed):
            raise
        except Exception as error:
            raise PartFailed(
                f"part [{self._start}:{self._stop}] failed: {reason(error)}",
                fix="check the inputs' sizes against the model; `partita inspect` shows them",
            ) from error
