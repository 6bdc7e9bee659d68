"""The original's demonstration on a CPU: requests under a bound of 20 ms, then 40 ms, on a ResNet-50 with four exits.

    python benchmarks/serve_execute.py [--json PATH] [--seconds 10] [--threads 1]

Weights are random: time does not depend on them. The conditions are those of the original's files, one per exit:
leave when the response time is greater than the bound. Here the bound is kept: a stage that would pass it is not begun.
Wanted: at least 99% of the requests within the bound.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

from partita.profile import steady_heap
from partita.serve import (
    ConditionalExecutor,
    ExitModel,
    Measuring,
    build_exits,
    execute_files,
    export,
    made_inputs,
    profile_model,
    read_policy,
)

BOUNDS = (20, 40)


def main() -> None:
    """Export, profile, execute."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    steady_heap()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for bound in BOUNDS:
            conditions = [{"metric": "response_time", "op": "greater", "threshold": bound / 1e3}] * 4
            files.append(folder / f"conditions_{bound}ms.json")
            files[-1].write_text(json.dumps(conditions))
        export(build_exits("resnet50", 1000, shape=(3, 224, 224)), folder / "model", spans=False)
        model = ExitModel.open(folder / "model", threads=asked.threads)
        profile = profile_model(model, batches=(1,), measuring=Measuring(runs=60, seconds=30))
        values = made_inputs(model.manifest, 1)
        executor = ConditionalExecutor(model, read_policy(files[0], profile), profile)
        lines: list[str] = []
        done = execute_files(executor, files, lambda _: values, seconds=asked.seconds, say=lines.append)
    times = [stage.seconds(1) * 1e3 for stage in profile.stages]
    print("stage p50, ms:", ", ".join(f"{t:.1f}" for t in times), "| p99:",
          ", ".join(f"{stage.seconds(1, tail=True) * 1e3:.1f}" for stage in profile.stages))  # fmt: skip
    print("\n".join(lines[:3]))
    for bound, summary in zip(BOUNDS, done, strict=True):
        print(f"{bound} ms: {summary}")
    if asked.json:
        asked.json.parent.mkdir(exist_ok=True)
        result = {
            "machine": platform.processor() or platform.machine(),
            "threads": asked.threads,
            "stages_ms": times,
        }
        result["runs"] = [{"bound_ms": bound, **asdict(s)} for bound, s in zip(BOUNDS, done, strict=True)]
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
