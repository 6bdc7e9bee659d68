"""Every example runs as a reader would run it."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_runs_and_is_short(path: Path) -> None:
    """It ends without complaint, says something, and fits on a page."""
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=150, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert path.read_text().count("\n") <= 60
