"""How long `partita --help` takes, beside the bare interpreter and beside importing the CLI library alone.

    python benchmarks/startup.py [--runs 15] [--json FILE]

Goal: under 0.3 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import cyclopts, rich": ["-c", "import cyclopts, rich.console, rich.panel, rich.table"],
    "partita --help": ["-m", "partita", "--help"],
    "partita inspect --help": ["-m", "partita", "inspect", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """One start, from nothing to the end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Take turns, so that a noisy moment falls on all alike; print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.runs):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    base = medians["import cyclopts, rich"]
    for name, value in medians.items():
        print(f"{value * 1e3:7.0f} ms  {value / base:5.2f} of importing the CLI library  {name}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
