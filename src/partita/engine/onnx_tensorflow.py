"""TensorFlow models as ONNX files, through tf2onnx.

Rules: the converter runs in a process of its own, because TensorFlow takes the process it is loaded into for itself;
what it says is told in one sentence; the file is captured before anybody else sees it, so that what ONNX Runtime
refuses is refused here.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ..errors import CannotCapture, MissingExtra
from .onnx_capture import capture_onnx
from .onnx_example import batch_symbol
from .onnx_export import OnnxExport, in_place

# How the converter is told what it gets.
_KINDS = {".h5": "--keras", ".keras": "--keras", ".tflite": "--tflite"}
# A large SavedModel takes minutes, never hours.
_SECONDS = 3600
_LONGEST_REASON = 300


def is_tensorflow(path: Path) -> bool:
    """Whether this is a SavedModel folder or a Keras or TFLite file, by its name and content."""
    return path.suffix in _KINDS or (path / "saved_model.pb").is_file()


def export_tensorflow(source: Path, path: Path, *, opset: int | None = None) -> OnnxExport:
    """Write a TensorFlow model as ONNX."""
    for library in ("tf2onnx", "tensorflow"):
        if find_spec(library) is None:
            raise MissingExtra(library, extra="tensorflow", purpose=f"export of {source.name} to ONNX")
    with in_place(path) as scratch:
        made = scratch / path.name
        _convert(source, made, opset)
        model = capture_onnx(made)
        chain = model.chain
        return OnnxExport(
            path=path,
            data=None,
            bytes=made.stat().st_size,
            opset=next((o.version for o in model.source.file.proto.opset_import if not o.domain), 0),
            inputs=chain.inputs,
            outputs=chain.outputs,
            batch=batch_symbol(chain),
            batches=(),
            difference=None,
            relative=None,
        )


def _convert(source: Path, made: Path, opset: int | None) -> None:
    command = [sys.executable, "-m", "tf2onnx.convert"]
    command += [_KINDS.get(source.suffix, "--saved-model"), str(source), "--output", str(made)]
    command += ["--opset", str(opset)] if opset is not None else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CannotCapture(
            f"{source}: tf2onnx took longer than {_SECONDS} s", fix=f"run it by hand: {' '.join(command[1:])}"
        ) from None
    if done.returncode == 0 and made.is_file():
        return
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    last = said[-1][:_LONGEST_REASON] if said else f"exit {done.returncode}"
    raise CannotCapture(
        f"{source}: tf2onnx cannot convert it: {last}",
        fix="try another --opset (14 to 18 are tested there), or save the model anew with this TensorFlow",
    )
