"""An ONNX model as three functions of AWS Lambda: planned, cut, proved equal, run under the platform's limits."""

from __future__ import annotations

import tempfile
from pathlib import Path

from partita.plan import pick
from partita.slice import SliceQuestion, capture, cut, explain, export, plan, rehearse, verify


def main() -> None:
    """Everything in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, slices = folder / "net.onnx", folder / "slices"
        export("zoo:resnet-tiny", model)
        lambdas = pick("aws-lambda")
        ready, found = plan(capture(model), SliceQuestion(platform=lambdas, slices=3))
        print(explain(found, ready.chain))
        cut(ready.model, found, slices)
        print("equal bit for bit:", verify(model, slices).equal)
        done = rehearse(slices, ready.model.example(1), lambdas, runs=3)
        for piece in done.slices:
            print(f"slice {piece.index}: {piece.peak / 1e6:.0f} MB at most, {piece.payload_out} bytes out")


if __name__ == "__main__":
    main()
