"""Bytes, error and speed of every codec on 4 MB of float32 features, beside the quantizer of the original research.

    python benchmarks/codecs.py [--json benchmarks/results/codecs.json] [--check]

Times are the best of several runs on this machine: trust their ratios. `--check` fails where a stated bound is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from partita.wire.codec import decode, encode, parse_codec
from partita.wire.memory import DeltaMemory, ResidualMemory

SHAPE = (32, 128, 16, 16)  # 4 MiB: a batch of 32 behind a middle block of a ResNet
SEED = 20260101
RUNS = 15
VISITS = 20
ORIGINAL = "original int8"
CODECS = (
    "raw", "fp16", "bf16", "int8", "int8/channel", "int8/stochastic", "int4", "int4/channel", "int2", "int2/channel",
    "topk:0.25", "topk:0.1", "topk:0.05", "topk:0.01", "lossless", "bf16+lossless", "int8+lossless", "int4+lossless",
    "topk:0.1+lossless",
)  # fmt: skip


def features() -> dict[str, np.ndarray]:
    """The two distributions that the claims are about, and what a ReLU really leaves: half of it zeros."""
    rng = np.random.default_rng(SEED)
    normal = rng.standard_normal(SHAPE).astype(np.float32)
    return {
        "half_normal": np.abs(normal),
        "uniform_0_6": rng.uniform(0, 6, SHAPE).astype(np.float32),
        "relu": np.maximum(normal, 0),
    }


def original_quantizer(x: np.ndarray) -> tuple[np.ndarray, float, int]:
    """The formula of the original project: a range cut at 128 in 256 steps, and the truncated minimum as zero point."""
    low, high = float(x.min()), float(x.max())
    scale = (min(high, 128.0) - max(low, -128.0)) / 256.0
    zero = int(low)
    return np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127).astype(np.int8), scale, zero


def original_dequantizer(coded: tuple[np.ndarray, float, int]) -> np.ndarray:
    """Its inverse."""
    q, scale, zero = coded
    return (q.astype(np.float32) - zero) * np.float32(scale)


def best_ms(call: Callable[[], object]) -> float:
    """The fastest of the runs: the others were disturbed."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def relative_error(x: np.ndarray, y: np.ndarray) -> float:
    """The L2 norm of the difference over that of the features."""
    return float(np.linalg.norm((x - y).astype(np.float64)) / np.linalg.norm(x.astype(np.float64)))


def measure(name: str, data: dict[str, np.ndarray]) -> dict[str, Any]:
    """One line of the table."""
    if name == ORIGINAL:
        encode: Callable[[np.ndarray], Any] = original_quantizer
        back: Callable[[Any], np.ndarray] = original_dequantizer
        size: Callable[[Any], int] = lambda coded: coded[0].nbytes + 12  # noqa: E731  (beside its two siblings)
    else:
        encode, back, size = parse_codec(name).encode, decode, lambda coded: coded.nbytes
    coded = {key: encode(x) for key, x in data.items()}
    main = data["half_normal"]
    return {
        "codec": name,
        "ratio": main.nbytes / size(coded["half_normal"]),
        "ratio_relu": main.nbytes / size(coded["relu"]),
        **{f"error_{key}": relative_error(x, back(coded[key])) for key, x in data.items()},
        "encode_ms": best_ms(lambda: encode(main)),
        "decode_ms": best_ms(lambda: back(coded["half_normal"])),
    }


def remember(name: str) -> dict[str, Any]:
    """Samples that are sent again and again while they drift by 5 %: what the codec loses without and with a memory."""
    rng = np.random.default_rng(SEED)
    ids = range(64)
    x = np.abs(rng.standard_normal((64, 4096))).astype(np.float32)
    codec = parse_codec(name)
    sender, receiver = (DeltaMemory(codec, capacity=64) for _ in range(2))
    residual = ResidualMemory(codec, capacity=64)
    totals = {"sent": np.zeros_like(x), "alone": np.zeros_like(x), "residual": np.zeros_like(x)}
    for _ in range(VISITS):
        x = np.abs(x + np.float32(0.05) * rng.standard_normal(x.shape).astype(np.float32))
        by_delta = receiver.decode(ids, sender.encode(ids, x)[0])
        totals["sent"] += x
        totals["alone"] += decode(encode(x, name))
        totals["residual"] += decode(residual.encode(ids, x))
    return {
        "codec": name,
        "error_alone": relative_error(x, decode(encode(x, name))),
        "error_delta": relative_error(x, by_delta),
        "mean_alone": relative_error(totals["sent"], totals["alone"]),
        "mean_residual": relative_error(totals["sent"], totals["residual"]),
    }


def show_memories(rows: list[dict[str, Any]]) -> None:
    """The second table."""
    print("\n| codec | error alone | with delta memory | error of the mean alone | with residual memory |")
    print("|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join([row["codec"], *(f"{row[key]:.3%}" for key in list(row)[1:])]) + " |")


def show(rows: list[dict[str, Any]]) -> None:
    """The table, as the docs carry it."""
    print("| codec | ratio | ratio ReLU | error half-normal | error uniform 0..6 | encode ms | decode ms |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        errors = (f"{row[key]:.3%}" for key in ("error_half_normal", "error_uniform_0_6"))
        ratios = f"{row['ratio']:.2f} | {row['ratio_relu']:.2f}"
        print(
            f"| {row['codec']} | {ratios} | {' | '.join(errors)} | {row['encode_ms']:.2f} | {row['decode_ms']:.2f} |"
        )


def broken_bounds(rows: list[dict[str, Any]]) -> list[str]:
    """The claims that the project makes of this table."""
    by_name = {row["codec"]: row for row in rows}
    ours, theirs = by_name["int8"], by_name[ORIGINAL]
    claims = {
        "int8 loses at most 1 % of half-normal features": ours["error_half_normal"] <= 0.01,
        "the original's quantizer loses more than 5 % of them": theirs["error_half_normal"] > 0.05,
        "int8 makes a quarter": ours["ratio"] > 3.99,
        "raw is exact": by_name["raw"]["error_uniform_0_6"] == 0,
        "lossless is exact": by_name["lossless"]["error_uniform_0_6"] == 0,
    }
    return [claim for claim, kept in claims.items() if not kept]


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="bytes, error and speed of every codec")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--check", action="store_true", help="fail where a claim does not hold")
    options = parser.parse_args()
    data = features()
    rows = [measure(name, data) for name in (*CODECS, ORIGINAL)]
    show(rows)
    memories = [remember(name) for name in ("int8", "int4", "int2", "topk:0.1")]
    show_memories(memories)
    if options.json:
        machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "numpy": np.__version__}
        report = {
            "shape": SHAPE,
            "dtype": "float32",
            "seed": SEED,
            "runs": RUNS,
            **machine,
            "rows": rows,
            "memories": memories,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    broken = broken_bounds(rows) if options.check else []
    for claim in broken:
        print(f"does not hold: {claim}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
