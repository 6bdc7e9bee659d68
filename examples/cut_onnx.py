"""Cut an ONNX file into three parts, run them one after the other, and prove that nothing changed."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.engine.onnx_proof import prove
from partita.engine.onnx_run import OnnxPart
from partita.testing.onnx_models import write_onnx


def main(path: Path, folder: Path) -> None:
    """Capture, choose two cuts, write the parts, run them, prove parity."""
    model = capture_onnx(path)
    legal = [cut.position for cut in model.chain.cuts[1:-1] if cut.legal]
    first, second = legal[len(legal) // 3], legal[2 * len(legal) // 3]
    bounds = [(0, first), (first, second), (second, len(model.chain))]

    known = model.example(batch=2)
    for file in write_parts(model, bounds, folder):
        part = OnnxPart.load(file.path)  # needs ONNX Runtime only: this is what a device does
        known |= part.forward({name: known[name] for name in part.inputs})
        print(f"{file.path.name}: {file.bytes} bytes, {', '.join(file.inputs)} -> {', '.join(file.outputs)}")
    print(prove(model, [first, second]))


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        given = Path(sys.argv[1]) if len(sys.argv) > 1 else write_onnx("skip", Path(scratch))
        main(given, Path(scratch) / "parts")
