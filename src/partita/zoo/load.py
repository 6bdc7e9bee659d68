"""From a reference to a captured model.

Rules: a library is imported only for its own references; weights are random from the seed unless a reference or a
file says otherwise, so that two processes build the same model; bad references are refused with what is close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..engine import Captured
from ..errors import BadReference, MissingExtra, NotFound
from ..graph import TensorSpec
from .network import Network
from .reference import Reference, parse_reference, refuse

# The batch of an example nobody gave: two, because torch takes a dimension of one for a constant.
_BATCH = 2


def resolve(
    reference: str,
    *,
    batch: int | None = None,
    depth: int | None = None,
    dims: Mapping[str, int] | None = None,
    inputs: Sequence[TensorSpec] = (),
    weights: Path | str | None = None,
    seed: int = 0,
) -> Captured:
    """The model a reference names, captured.

    `dims` gives sizes to open dimensions of the example (`seq`, `image`), `inputs` describes example inputs that
    replace the model's usual ones, `weights` is a safetensors file for the whole model.
    """
    parsed = parse_reference(reference)
    if parsed.form == "onnx":
        return _onnx(parsed, dims, weights)
    network = build(reference, batch=batch, dims=dims, inputs=inputs, weights=weights, seed=seed)
    from ..engine.torch_capture import capture_torch

    return capture_torch(network.module, network.args, network.kwargs, name=reference, depth=depth)


def build(
    reference: str,
    *,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    inputs: Sequence[TensorSpec] = (),
    weights: Path | str | None = None,
    seed: int = 0,
    bare: bool = False,
) -> Network:
    """The module a reference names, with example inputs, not captured yet. `bare` does without the inputs."""
    parsed = parse_reference(reference)
    if parsed.form == "onnx":
        raise BadReference(f"{reference!r} is an ONNX file, which holds no module", fix="use resolve")
    if find_spec("torch") is None:
        raise MissingExtra("torch", extra="torch", purpose=f"the model {reference!r}")
    sizes = {"batch": batch or _BATCH, **(dims or {})}
    with _seeded(seed):
        network = _load(parsed, sizes["batch"], sizes)
        if inputs:
            from .examples import described

            network = described(network, inputs, sizes)
    if not bare and not network.args and not network.kwargs:
        raise BadReference(
            f"{reference!r} gives a module without example inputs",
            fix="describe them, like --input x:float32[1,3,224,224], or let the factory give (module, args)",
        )
    if weights is not None:
        _fill(network, Path(weights))
    return network


def load_function(reference: str) -> Callable[..., Any]:
    """The function that `package.module:name` or `file.py:name` names: a loss, say."""
    parsed = parse_reference(reference)
    if parsed.form not in ("file", "module"):
        raise BadReference(
            f"{reference!r} names no function", fix="write FILE.py:NAME or PACKAGE.MODULE:NAME"
        )
    if find_spec("torch") is None:
        raise MissingExtra("torch", extra="torch", purpose=f"the function {reference!r}")
    from .factory import found_at

    found = found_at(parsed)
    if not callable(found):
        raise BadReference(
            f"{reference!r} is a {type(found).__name__}, no function", fix="name something that can be called"
        )
    function: Callable[..., Any] = found
    return function


def _onnx(parsed: Reference, dims: Mapping[str, int] | None, weights: Path | str | None) -> Captured:
    path = Path(parsed.name)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        raise refuse(f"there is no file {parsed.name!r}", path.name, (p.name for p in folder.glob("*.onnx")))
    if weights is not None or parsed.options or parsed.weights is not None:
        raise BadReference(
            f"{parsed.text!r} is an ONNX file, which holds its weights and takes no options",
            fix=f"write {parsed.name} alone",
        )
    from ..engine.onnx_capture import capture_onnx

    return capture_onnx(path, dims=dims)


def _load(parsed: Reference, batch: int, dims: Mapping[str, int]) -> Network:
    match parsed.form:
        case "torchvision":
            from .vision import load_torchvision as load
        case "timm":
            from .vision import load_timm as load
        case "hf":
            from .language import load_hf as load
        case "zoo":
            from .factory import load_net as load
        case _:
            from .factory import load_factory as load
    return load(parsed, batch, dims)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed for a while; the caller's own go on afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _fill(network: Network, path: Path) -> None:
    from ..engine.torch_state import StateBook, load_file

    if not path.is_file():
        raise NotFound(f"there is no weights file {path}", fix="give the path of a .safetensors file")
    StateBook.of(network.module).load(load_file(path), f"weights {path}")
