"""`partita slice export`: a PyTorch or TensorFlow model as an ONNX file, ready to be cut."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..graph import print_size
from ..slice import export as export_model
from .model import ModelOptions
from .render import Screen

DEFAULTS = ModelOptions()


def export(
    model: str,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    options: ModelOptions = DEFAULTS,
    opset: int | None = None,
    fixed_batch: bool = False,
    json: bool = False,
) -> int:
    """Write a model as ONNX and compare what ONNX Runtime gives with what its own library gives.

    Parameters
    ----------
    model
        A model reference, as for `partita inspect`, or a TensorFlow SavedModel folder, .keras, .h5 or .tflite file.
    output
        The .onnx file to write; weights of large models lie beside it.
    opset
        The version of the operator set; the exporter's own choice if not given.
    fixed_batch
        Keep the batch size as it is instead of leaving it open.
    json
        Print one JSON document.
    """
    screen = Screen(as_json=json)
    done = export_model(
        model,
        output,
        batch=options.batch if options.batch > 1 else None,
        dims=options.dims(),
        inputs=options.specs(),
        weights=options.weights,
        seed=options.seed,
        opset=opset,
        dynamic_batch=not fixed_batch,
    )
    screen.say(f"{done.path}: {print_size(done.bytes)}, opset {done.opset}")
    screen.say(f"inputs {', '.join(done.inputs)}; outputs {', '.join(done.outputs)}")
    batch = "fixed" if done.batch is None else f"open ({done.batch})"
    screen.say(f"batch {batch}; tried with {', '.join(map(str, done.batches)) or 'nothing'}")
    if done.difference is not None:
        screen.say(
            f"largest difference between ONNX Runtime and the model's own library: {done.difference:.3g}"
            + (f" ({done.relative:.2g} of the largest value)" if done.relative is not None else "")
        )
    screen.say(f"go on: partita slice check {done.path} --platform aws-lambda")
    screen.result({name: str(v) if isinstance(v, Path) else v for name, v in asdict(done).items()})
    return 0
