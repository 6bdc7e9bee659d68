"""What ONNX Runtime makes of a graph, asked without its weights.

Rules: large weights are replaced by a hole in a sparse file, so that a model larger than memory can be asked
about; with every optimisation off ONNX Runtime never looks at them when it loads; what it refuses is refused at
capture, with the operator or version that stands in the way, and not later on the device that runs the part.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CannotCapture
from ..graph import DType, TensorSpec
from .onnx_file import OnnxFile
from .onnx_graph import walk_nodes
from .onnx_run import RunSettings, open_session, reason
from .onnx_tensor import STRING, nbytes
from .onnx_types import Namer
from .onnx_values import dtype_of

# Weights inside bodies and Constant nodes have no hole to point at: above this sum the probe is left out.
_LARGEST_INNER = 256 << 20
# No weight is larger; file systems end at a few terabytes.
_LARGEST_HOLE = 1 << 40
_EXTERNAL = 1


def probe(file: OnnxFile, wanted: Sequence[str]) -> Any | None:
    """A session of the graph without its weights that also returns the names in `wanted`; None where there is no way."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(file.proto)
    returned = {value.name for value in model.graph.output}
    for name in wanted:
        if name not in returned:
            model.graph.output.add().name = name
    holes = [t for t in model.graph.initializer if _hollow(t)]
    inner = [t for t in _inner_tensors(model) if _hollow(t)]
    if sum(nbytes(t.data_type, tuple(t.dims)) for t in inner) > _LARGEST_INNER:
        return None
    for tensor in inner:
        _fill(tensor)
    if not holes:
        return _opened(file, model.SerializeToString())
    largest = max(nbytes(t.data_type, tuple(t.dims)) for t in holes)
    if largest > _LARGEST_HOLE:
        return None
    with tempfile.TemporaryDirectory(prefix="partita-") as folder:
        with (Path(folder) / "hole").open("wb") as hole:
            hole.truncate(largest)
        for tensor in holes:
            _point(tensor, "hole")
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return _opened(file, path)


def _hollow(tensor: Any) -> bool:
    """Whether the skeleton lacks its values: taken out as large, or in another file from the start."""
    if tensor.data_type == STRING:
        return False
    size = nbytes(tensor.data_type, tuple(tensor.dims))
    if tensor.data_location == _EXTERNAL:
        return True
    held = len(tensor.raw_data) or any(
        len(getattr(tensor, f"{kind}_data")) for kind in ("float", "int32", "int64", "double", "uint64")
    )
    return not held and size > 0


def _inner_tensors(model: Any) -> Iterable[Any]:
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for node in walk_nodes(nodes):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for body in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from body.initializer


def _point(tensor: Any, location: str) -> None:
    del tensor.external_data[:]
    tensor.data_location = _EXTERNAL
    length = nbytes(tensor.data_type, tuple(tensor.dims))
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _fill(tensor: Any) -> None:
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = bytes(nbytes(tensor.data_type, tuple(tensor.dims)))


def _opened(file: OnnxFile, model: bytes | Path) -> Any | None:
    settings = RunSettings(threads=1, prepack=False)
    try:
        return open_session(model, settings)
    except Exception as error:
        try:  # perhaps it is only the missing weights that it minds
            open_session(file.path, settings)
        except Exception:
            raise refusal(file, error) from error
        return None


def refusal(file: OnnxFile, error: Exception) -> CannotCapture:
    """What ONNX Runtime says about a model that it does not load, in our words where we have them."""
    import onnxruntime as ort

    said, runtime = reason(error), f"ONNX Runtime {ort.__version__}"
    if found := re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", said):
        return CannotCapture(
            f"{file.path} has IR version {found[1]}, and {runtime} reads versions up to {found[2]}",
            fix="upgrade onnxruntime, or export the model with an older onnx",
        )
    if found := re.search(r"support for domain (\S+) is till opset (\d+)", said):
        versions = {o.domain or "ai.onnx": o.version for o in file.proto.opset_import}
        version = versions.get(found[1], "?")
        return CannotCapture(
            f"{file.path} uses version {version} of the operator set {found[1]}; {runtime} knows up to {found[2]}",
            fix="upgrade onnxruntime, or convert the model with onnx.version_converter.convert_version",
        )
    if found := re.search(r"(?:Fatal error: )(\S+?)\(?(-?\d*)\)? is not a registered", said):
        return CannotCapture(
            f"{file.path} uses the operator {found[1]}, which neither {runtime} nor the file defines",
            fix="define it as a local function of the model, or replace it by standard operators",
        )
    if found := re.search(
        r"Could not find an implementation for (\S+?)\((\d+)\) node with name '(.*)'", said
    ):
        return CannotCapture(
            f"{file.path} uses {found[1]} (opset {found[2]}, node {found[3]!r}) with types for which "
            f"{runtime} has no implementation on the CPU",
            fix="cast around that node, or export the model with other types",
        )
    return CannotCapture(
        f"{runtime} does not load {file.path}: {said}",
        fix="check it with onnx.checker.check_model(path, full_check=True)",
    )


def probed(
    session: Any, specs: Mapping[str, TensorSpec], vague: Sequence[str], namer: Namer
) -> dict[str, TensorSpec]:
    """Better descriptions of names whose type or rank we lack."""
    found: dict[str, TensorSpec] = {}
    for argument in (*session.get_outputs(), *session.get_inputs()):
        if argument.name not in vague:
            continue
        old = specs[argument.name]
        dtype = dtype_of(argument.type) if old.dtype is DType.UNKNOWN else old.dtype
        shape = old.shape
        if shape is None and argument.shape and dtype.travels:
            named = enumerate(argument.shape)
            shape = tuple(d if d is not None else namer.name(argument.name, axis) for axis, d in named)
        found[argument.name] = TensorSpec(argument.name, dtype, shape)
    return found
