"""Cutting an ONNX model into 8 parts: seconds and peak memory, beside the onnx package's own extraction.

    python benchmarks/onnx_cut.py [--json PATH] [--runs 3] [--model FILE]

Each way runs in a fresh process. Seconds are those of the cut alone, imports excluded; memory is the peak of the
process, imports included, and the imports alone are stated beside it. Without --model, ResNet-50 of the onnx
package is given weights (102 MB). The ratios are what counts: absolute times depend on the machine and its disk.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

PARTS = 8


def peak() -> int:
    """The most memory this process has held, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def resnet50(folder: Path) -> Path:
    """ResNet-50 with weights, in IR version 9: extract_model refuses older files, whose weights are inputs too."""
    import onnx
    import onnx.backend.test

    from partita.testing.onnx_models import with_weights

    light = Path(onnx.backend.test.__file__).parent / "data" / "light" / "light_resnet50.onnx"
    path = folder / "resnet50.onnx"
    model = onnx.load(light)
    model.ir_version = 9
    path.write_bytes(with_weights(model).SerializeToString())
    return path


def ends(path: Path) -> list[dict[str, list[str]]]:
    """The names at the ends of the parts, from our chain, so that all ways cut at the same places."""
    from partita.engine.onnx_capture import capture_onnx

    chain = capture_onnx(path).chain
    cuts = [chain.legal_cut(len(chain) * part // PARTS).position for part in range(PARTS + 1)]
    return [
        {
            "cut": [str(a), str(b)],
            "inputs": [*chain.part_inputs(a, b)],
            "outputs": [*chain.part_outputs(a, b)],
        }
        for a, b in pairwise(cuts)
    ]


def ours(path: Path, folder: Path, parts: list[dict[str, list[str]]]) -> None:
    """Walk once, copy ranges; digests and fsync included."""
    from partita.engine.onnx_capture import capture_onnx
    from partita.engine.onnx_extract import write_parts

    wanted = [(int(part["cut"][0]), int(part["cut"][1])) for part in parts]
    write_parts(capture_onnx(path), wanted, folder)


def extract_model(path: Path, folder: Path, parts: list[dict[str, list[str]]]) -> None:
    """The documented way: one call per part."""
    import onnx.utils

    for index, part in enumerate(parts):
        onnx.utils.extract_model(str(path), str(folder / f"{index}.onnx"), part["inputs"], part["outputs"])


def extractor(path: Path, folder: Path, parts: list[dict[str, list[str]]]) -> None:
    """The class behind it, loaded once and used for every part."""
    import onnx
    import onnx.utils

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    reused = onnx.utils.Extractor(model)
    for index, part in enumerate(parts):
        onnx.save(reused.extract_model(part["inputs"], part["outputs"]), folder / f"{index}.onnx")


def imports(path: Path, folder: Path, parts: list[dict[str, list[str]]]) -> None:
    """Nothing at all: what the libraries cost."""


WAYS: dict[str, Callable[[Path, Path, list[dict[str, list[str]]]], None]] = {
    "partita": ours,
    "onnx.utils.extract_model": extract_model,
    "onnx.utils.Extractor reused": extractor,
    "imports alone": imports,
}


def measure(way: str, path: Path, parts: Path) -> dict[str, float]:
    """One way in this process."""
    import onnx.utils  # noqa: F401 - imports are not what is measured
    import onnxruntime  # noqa: F401

    import partita.engine.onnx_capture  # noqa: F401

    wanted = json.loads(parts.read_text())
    with tempfile.TemporaryDirectory(prefix="partita-bench-") as folder:
        start = time.perf_counter()
        WAYS[way](path, Path(folder), wanted)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak()}


def one(way: str, path: Path, parts: Path) -> dict[str, float]:
    """One way in a fresh process."""
    command = [sys.executable, __file__, "--way", way, "--model", str(path), "--parts", str(parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(path: Path, runs: int, folder: Path) -> dict[str, object]:
    """All ways in turn, several times over."""
    import onnx
    import onnxruntime as ort

    parts = folder / "parts.json"
    parts.write_text(json.dumps(ends(path)))
    taken = {way: [] for way in WAYS}
    for _ in range(runs):
        for way in WAYS:
            taken[way].append(one(way, path, parts))
    rows = {
        way: {
            "seconds": statistics.median(run["seconds"] for run in found),
            "peak": statistics.median(run["peak"] for run in found),
        }
        for way, found in taken.items()
    }
    versions = {"onnx": onnx.__version__, "onnxruntime": ort.__version__, "python": platform.python_version()}
    return {
        "model_bytes": path.stat().st_size,
        "parts": PARTS,
        "runs": runs,
        "ways": rows,
        "versions": versions,
    }


def show(result: dict[str, object]) -> None:
    """A table with ratios to ours."""
    rows: dict[str, dict[str, float]] = result["ways"]  # type: ignore[assignment]
    mine = rows["partita"]
    print(f"{result['model_bytes'] / 1e6:.1f} MB into {PARTS} parts, median of {result['runs']} runs")
    print(f"{'way':30} {'seconds':>8} {'ratio':>7} {'peak MB':>8} {'ratio':>6}")
    for way, row in rows.items():
        times = "" if way == "imports alone" else f"{row['seconds'] / mine['seconds']:.1f}x"
        print(
            f"{way:30} {row['seconds']:8.3f} {times:>7} "
            f"{row['peak'] / 1e6:8.0f} {row['peak'] / mine['peak']:5.1f}x"
        )


def main() -> None:
    """Parse, run, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measure(asked.way, asked.model, asked.parts)))
        return
    with tempfile.TemporaryDirectory(prefix="partita-bench-") as folder:
        path = asked.model or resnet50(Path(folder))
        result = compare(path, asked.runs, Path(folder))
    show(result)
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
