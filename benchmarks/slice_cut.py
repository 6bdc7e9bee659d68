"""Cutting an ONNX model into 8 parts: seconds, peak memory and bytes written, beside two other tools.

    python benchmarks/slice_cut.py [--models resnet50 vgg19 giant] [--model FILE] [--runs 3] [--peer-runs 3]
                                   [--ssp4onnx PYTHON] [--json PATH]

Each way runs in a fresh process, from the file to the parts on disk. Imports are left out of the seconds and counted
in the memory; what they take alone is stated beside it. ResNet-50 (102 MB) and VGG-19 (575 MB) are those of the onnx
package with weights of their own; `giant` is a chain of 3 GB whose weights lie in a second file, mostly holes, and
`solid` the same without holes. partita and onnx cut at the same places, those at which the largest part is smallest.
ssp4onnx cuts where it likes, asked for an eighth of the weights per part; it needs a Python of its own (it pins onnx
1.19). The ratios are what counts: absolute times depend on the machine and its disk.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

PARTS = 8
PEER = "ssp4onnx"
Part = dict[str, Any]


def peak() -> int:
    """The most memory this process has held, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def written(name: str, folder: Path) -> Path:
    """One of the models, in IR version 9: extract_model refuses older files, whose weights are inputs too."""
    import onnx
    import onnx.backend.test

    from partita.testing.onnx_models import with_weights, write_giant

    if name in ("giant", "solid"):
        path = write_giant(folder, layers=11)
        if name == "solid":
            fill(folder / "giant.data")
        return path
    light = Path(onnx.backend.test.__file__).parent / "data" / "light" / f"light_{name}.onnx"
    path = folder / f"{name}.onnx"
    model = onnx.load(light)
    model.ir_version = 9
    path.write_bytes(with_weights(model).SerializeToString())
    return path


def fill(path: Path) -> None:
    """Numbers where there were holes."""
    block = os.urandom(1 << 24)
    with path.open("r+b") as file:
        for start in range(0, path.stat().st_size, len(block)):
            file.seek(start)
            file.write(block[: path.stat().st_size - start])
        os.fsync(file.fileno())


def bytes_beside(path: Path) -> int:
    """The bytes of a model and of what lies beside it."""
    return sum(file.stat().st_size for file in path.parent.iterdir() if file.suffix in (".onnx", ".data"))


def balanced(chain: Any) -> list[int]:
    """The ends of 8 parts of which the largest is as small as it can be, and the others as equal as that leaves."""
    legal = [cut.position for cut in chain.cuts if cut.legal]
    costs = {(a, b): chain.part_bytes(a, b) for a in legal for b in legal if a < b}
    best: dict[int, tuple[int, int, list[int]]] = {0: (0, 0, [0])}
    for _ in range(PARTS):
        longer: dict[int, tuple[int, int, list[int]]] = {}
        for a, (most, squares, ends) in best.items():
            for b in (b for b in legal if b > a):
                cost = costs[a, b]
                found = (max(most, cost), squares + cost**2, [*ends, b])
                longer[b] = min(longer.get(b, found), found)
        best = longer
    return best[len(chain)][2]


def parts_of(path: Path) -> list[Part]:
    """Places and names of the parts, so that all ways cut at the same places."""
    from partita.engine.onnx_capture import capture_onnx

    chain = capture_onnx(path).chain
    return [
        {"cut": [a, b], "inputs": chain.part_inputs(a, b), "outputs": chain.part_outputs(a, b)}
        for a, b in pairwise(balanced(chain))
    ]


def ours(path: Path, folder: Path, parts: list[Part]) -> None:
    """Walk once, copy ranges, digest them on the way; ONNX Runtime is not asked."""
    from partita.engine.onnx_capture import capture_onnx
    from partita.engine.onnx_extract import write_parts

    write_parts(capture_onnx(path, probe=False), [tuple(part["cut"]) for part in parts], folder)


def probed(path: Path, folder: Path, parts: list[Part]) -> None:
    """The same, and ONNX Runtime has to agree to the graph first."""
    from partita.engine.onnx_capture import capture_onnx
    from partita.engine.onnx_extract import write_parts

    write_parts(capture_onnx(path), [tuple(part["cut"]) for part in parts], folder)


def durable(path: Path, folder: Path, parts: list[Part]) -> None:
    """The same as the first, and the disk has it."""
    from partita.engine.onnx_capture import capture_onnx
    from partita.engine.onnx_extract import write_parts

    wanted = [tuple(part["cut"]) for part in parts]
    write_parts(capture_onnx(path, probe=False), wanted, folder, durable=True)


def extract_model(path: Path, folder: Path, parts: list[Part]) -> None:
    """The documented way: one call per part."""
    import onnx.utils

    for index, part in enumerate(parts):
        onnx.utils.extract_model(str(path), str(folder / f"{index}.onnx"), part["inputs"], part["outputs"])


def extractor(path: Path, folder: Path, parts: list[Part]) -> None:
    """The class behind it, loaded once and used for every part. Shape inference needs a model under 2 GB."""
    import onnx
    import onnx.utils

    model = onnx.load(path)
    if model.ByteSize() < 1 << 31:
        model = onnx.shape_inference.infer_shapes(model)
    reused = onnx.utils.Extractor(model)
    for index, part in enumerate(parts):
        onnx.save(reused.extract_model(part["inputs"], part["outputs"]), folder / f"{index}.onnx")


def ssp4onnx(path: Path, folder: Path, parts: list[Part]) -> None:  # noqa: ARG001 - it chooses its own cuts
    """Asked for an eighth of the bytes per part."""
    importlib.import_module(PEER).split(
        input_onnx_file_path=str(path),
        auto_split_max_size=f"{bytes_beside(path) // PARTS // 1000}KB",
        output_dir=str(folder),
        non_verbose=True,
    )


def imports(path: Path, folder: Path, parts: list[Part]) -> None:
    """Nothing at all: what the libraries cost."""


WAYS: dict[str, Callable[[Path, Path, list[Part]], None]] = {
    "partita": ours,
    "partita, probed": probed,
    "partita, durable": durable,
    "onnx.utils.extract_model": extract_model,
    "onnx.utils.Extractor reused": extractor,
    PEER: ssp4onnx,
    "imports alone": imports,
}


def measure(way: str, path: Path, parts: Path) -> dict[str, Any]:
    """One way in this process."""
    if way == PEER:
        importlib.import_module(PEER)
    else:
        import onnx.utils  # noqa: F401 - imports are not what is measured

        import partita.engine.onnx_capture  # noqa: F401
    if way == "partita, probed":
        import onnxruntime  # noqa: F401
    wanted = json.loads(parts.read_text())
    with tempfile.TemporaryDirectory(prefix="partita-bench-", dir=parts.parent) as folder:
        start = time.perf_counter()
        WAYS[way](path, Path(folder), wanted)
        seconds = time.perf_counter() - start
        files = {file: file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()}
    models = [file for file in files if file.suffix == ".onnx"]
    sizes = [sum(size for other, size in files.items() if other.stem.startswith(m.stem)) for m in models]
    return {"seconds": seconds, "peak": peak(), "parts": len(models), "largest": max(sizes, default=0), "bytes": sum(files.values())}  # fmt: skip


def one(way: str, path: Path, parts: Path, python: str) -> dict[str, Any]:
    """One way in a fresh process, after the disk has come to rest."""
    os.sync()
    command = [python, __file__, "--way", way, "--model", str(path), "--parts", str(parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        return {"failed": said[-1][:200] if said else f"exit code {done.returncode}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(path: Path, folder: Path, runs: Mapping[str, int], pythons: Mapping[str, str]) -> dict[str, Any]:
    """All ways in turn, several times over; one that fails is not tried again."""
    parts = folder / "parts.json"
    parts.write_text(json.dumps(parts_of(path)))
    taken: dict[str, list[dict[str, Any]]] = {way: [] for way in runs}
    for round_ in range(max(runs.values())):
        for way in runs:
            if round_ < runs[way] and not any("failed" in run for run in taken[way]):
                taken[way].append(one(way, path, parts, pythons.get(way, sys.executable)))
    rows = {}
    for way, found in taken.items():
        failed = [run for run in found if "failed" in run]
        last = found[-1]
        medians = {
            key: statistics.median(run[key] for run in found) for key in ("seconds", "peak") if not failed
        }
        rows[way] = failed[0] if failed else {**last, **medians, "runs": len(found)}
    return {"model": path.stem, "model_bytes": bytes_beside(path), "ways": rows}


def show(result: dict[str, Any]) -> None:
    """A table with ratios to ours."""
    rows: dict[str, dict[str, Any]] = result["ways"]
    mine = rows["partita"]
    print(f"\n{result['model']}, {result['model_bytes'] / 1e6:.1f} MB, into {PARTS} parts")
    print(
        f"{'way':28} {'runs':>4} {'seconds':>8} {'ratio':>7} {'peak MB':>8} {'ratio':>6} "
        f"{'parts':>5} {'largest':>8} {'written MB':>10}"
    )
    for way, row in rows.items():
        if "failed" in row:
            print(f"{way:28} {row['failed']}")
            continue
        line = f"{way:28} {row['runs']:4} {row['seconds']:8.3f} {row['seconds'] / mine['seconds']:6.1f}x "
        line += f"{row['peak'] / 1e6:8.0f} {row['peak'] / mine['peak']:5.1f}x "
        print(line + f"{row['parts']:5} {row['largest'] / 1e6:8.1f} {row['bytes'] / 1e6:10.1f}")


def asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet50", "vgg19", "giant"])
    parser.add_argument("--model", type=Path, help="a file of your own instead")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-runs", type=int, default=3)
    parser.add_argument("--ssp4onnx", metavar="PYTHON", help="a Python that has ssp4onnx")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Parse, run, show, save."""
    options = asked()
    if options.way:
        print(json.dumps(measure(options.way, options.model, options.parts)))
        return
    import onnx
    import onnxruntime as ort

    mine = ("partita", "imports alone")
    runs = {way: options.runs if way.startswith(mine) else options.peer_runs for way in WAYS}
    if not options.ssp4onnx:
        print(f"{PEER}: not measured; give --ssp4onnx PYTHON, a Python in which it is installed")
        del runs[PEER]
    results = []
    for name in [options.model] if options.model else options.models:
        with tempfile.TemporaryDirectory(prefix="partita-bench-") as folder:
            path = options.model or written(name, Path(folder))
            results.append(compare(path, Path(folder), runs, {PEER: options.ssp4onnx}))
            show(results[-1])
    if options.json:
        versions = {
            "onnx": onnx.__version__,
            "onnxruntime": ort.__version__,
            "python": platform.python_version(),
        }
        document = {"command": " ".join(sys.argv), "versions": versions, "models": results}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
