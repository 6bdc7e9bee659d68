"""Any model reference as an ONNX file that can be cut: torch modules by their reference, TensorFlow models by path.

Rules: a model that is ONNX already is refused with a word; the file appears complete or not at all, and what it was
compared with is part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..engine.onnx_export import OnnxExport
from ..engine.onnx_tensorflow import export_tensorflow, is_tensorflow
from ..errors import BadDocument, BadReference
from ..graph import TensorSpec
from ..zoo import build


def export(  # noqa: PLR0913  # the public door: all but two have defaults
    reference: str,
    path: str | Path,
    *,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    inputs: Sequence[TensorSpec] = (),
    weights: str | Path | None = None,
    seed: int = 0,
    opset: int | None = None,
    dynamic_batch: bool = True,
    external: bool | None = None,
) -> OnnxExport:
    """Write the model that a reference names.

    `batch`, `dims`, `inputs`, `weights` and `seed` say how the module and its example are made, as everywhere.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise BadDocument("output", [f"{path} does not end with .onnx"], fix="write it like model.onnx")
    if not path.parent.is_dir():
        raise BadDocument("output", [f"the folder {path.parent} is not there"], fix="make it first")
    if reference.endswith(".onnx"):
        raise BadReference(
            f"{reference!r} is an ONNX file already",
            fix=f"cut it: partita slice cut {reference} --slices 4 -o slices",
        )
    if is_tensorflow(Path(reference)):
        return _tensorflow(reference, path, opset, plain=not (batch or dims or inputs or weights))
    network = build(reference, batch=batch, dims=dims, inputs=inputs, weights=weights, seed=seed)
    from ..engine.torch_onnx import export_onnx

    return export_onnx(
        network.module,
        network.args,
        network.kwargs,
        path,
        opset=opset,
        dynamic_batch=dynamic_batch,
        external=external,
    )


def _tensorflow(reference: str, path: Path, opset: int | None, *, plain: bool) -> OnnxExport:
    source = Path(reference)
    if not source.exists():
        raise BadReference(f"there is no file {reference!r}", fix="give the path of a TensorFlow model")
    if not plain:
        raise BadReference(
            f"{reference!r} is a TensorFlow model, which holds its weights and its inputs",
            fix="give neither batch, sizes, inputs nor weights",
        )
    return export_tensorflow(source, path, opset=opset)
