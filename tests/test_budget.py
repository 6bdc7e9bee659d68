"""Small by budget: no file over 400 lines, no function over 60, in source and tests alike."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    p for folder in ("src", "tests", "benchmarks", "examples") for p in (ROOT / folder).rglob("*.py")
)
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
# Names under which unrelated things gather.
DRAWERS = {
    "utils.py",
    "util.py",
    "common.py",
    "helpers.py",
    "helper.py",
    "misc.py",
    "manager.py",
    "base_manager.py",
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_fits_on_a_few_screens(path: Path) -> None:
    """Files have at most 400 lines and functions at most 60."""
    text = path.read_text()
    functions = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    for function in functions:
        if ast.get_docstring(function):
            # What a command says of its options is a table, not code.
            function.lineno = function.body[0].end_lineno or function.lineno
    long = [
        f"{f.name}: {f.end_lineno - f.lineno + 1}"
        for f in functions
        if (f.end_lineno or 0) - f.lineno >= LONGEST_FUNCTION
    ]

    assert text.count("\n") <= LONGEST_FILE
    assert not long


def test_everything_lives_where_its_noun_lives() -> None:
    """There is no drawer for things without a place."""
    assert not [p for p in FILES if p.name in DRAWERS]


def test_every_module_says_what_it_is_for() -> None:
    """Each source module opens with a docstring."""
    silent = [p for p in (ROOT / "src").rglob("*.py") if not ast.get_docstring(ast.parse(p.read_text()))]

    assert not silent
