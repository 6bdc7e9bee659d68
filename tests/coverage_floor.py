"""Coverage per folder, after a test run: pure code has no excuse, the rest has a floor."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import coverage

# The longest matching prefix decides. Pure folders are held at 100: there is nothing in them that a test cannot reach.
FLOORS = {
    "errors.py": 100.0,
    "graph/": 100.0,
    "plan/": 100.0,
    "wire/": 100.0,
    "wire/channel": 85.0,
    "wire/shaper": 85.0,
    "wire/access": 90.0,
    "engine/": 88.0,
    "store/": 90.0,
    "profile/": 90.0,
    "zoo/": 80.0,
    "run/": 88.0,
    "slice/": 85.0,
    "slice/document.py": 100.0,
    "slice/question.py": 100.0,
    "slice/grid.py": 100.0,
    "slice/costs.py": 100.0,
    "slice/table.py": 100.0,
    "slice/transport.py": 100.0,
    "slice/rows.py": 100.0,
    "slice/searching.py": 100.0,
    "slice/reasons.py": 100.0,
    "slice/room.py": 100.0,
    "slice/order.py": 100.0,
    "slice/recompute.py": 100.0,
    "slice/explanation.py": 100.0,
    "serve/": 90.0,
    "serve/tables": 100.0,
    "serve/arrivals": 100.0,
    "serve/attribution": 100.0,
    "serve/audit": 100.0,
    "serve/calibrating": 100.0,
    "serve/calibrate_": 100.0,
    "serve/policy": 100.0,
    "serve/scheduler": 100.0,
    "serve/simulating": 100.0,
    "serve/simulate_": 100.0,
    "serve/explain": 100.0,
    "serve/setup": 100.0,
    "train/": 88.0,
    "train/settings": 100.0,
    "train/roles": 100.0,
    "train/messages": 100.0,
    "train/reports": 100.0,
    "train/rates": 100.0,
    "train/seeds.py": 100.0,
    "train/guard.py": 100.0,
    "train/context": 100.0,
    "train/planner": 100.0,
    "train/baselines": 100.0,
    "train/pipeline": 100.0,
    "train/standing": 100.0,
    "train/simulating": 100.0,
    "train/simulate_": 100.0,
    "cli/": 80.0,
    "testing/": 80.0,
}


def floor_of(path: str) -> tuple[str, float]:
    """The rule for a file: the longest prefix that fits."""
    fitting = [prefix for prefix in FLOORS if path.startswith(prefix)]
    prefix = max(fitting, key=len, default="")
    return prefix, FLOORS.get(prefix, 0.0)


def main() -> int:
    """Print a line for each group and fail when one is below its floor."""
    data = coverage.Coverage()
    data.load()
    with TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        with io.StringIO() as _:
            data.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    groups: dict[str, list[float]] = {}
    gaps: dict[str, list[str]] = {}
    for name, entry in files.items():
        path = name.split("src/partita/", 1)[-1]
        prefix, _ = floor_of(path)
        summary = entry["summary"]
        have = summary["covered_lines"] + summary["covered_branches"]
        want = summary["num_statements"] + summary["num_branches"]
        group = groups.setdefault(prefix, [0.0, 0.0])
        group[0] += have
        group[1] += want
        if have < want:
            gaps.setdefault(prefix, []).append(
                f"{path} lines {entry['missing_lines']} branches {entry['missing_branches']}"
            )
    failed = False
    for prefix, (have, want) in sorted(groups.items()):
        share = 100.0 * have / want if want else 100.0
        short = share < FLOORS.get(prefix, 0.0)
        failed = failed or short
        print(
            f"{'SHORT' if short else 'ok':>5}  {share:6.2f}% of {FLOORS.get(prefix, 0.0):5.1f}%  {prefix or 'elsewhere'}"
        )
        if short:
            print("\n".join("         " + gap for gap in gaps.get(prefix, [])))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
