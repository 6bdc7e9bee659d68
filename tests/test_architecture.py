"""The house holds: what import contracts cannot say about folders, facades and text."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "partita"
MODULES = sorted(SOURCE.rglob("*.py"))
FOLDERS = sorted(p.parent.name for p in SOURCE.glob("*/__init__.py"))


def imports(path: Path) -> list[tuple[int, str]]:
    """Every import of a file as (dots, module)."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
        elif isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_folder_is_entered_by_its_door(path: Path) -> None:
    """From another folder one imports the folder, never a module inside it, and never the root by name.

    Engines are the exception: torch and onnx load only where their own module is named.
    """
    for dots, module in imports(path):
        assert not (dots == 0 and module.split(".")[0] == "partita" and "testing" not in path.parts), module
        if dots == 2 and "." in module:
            assert re.fullmatch(r"engine\.(torch|onnx)_\w+", module), module


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_public_list_of_a_folder_is_what_can_be_imported(folder: str) -> None:
    """`__all__` (sorted, as ruff holds it) names everything public that a folder offers, and nothing else."""
    module = __import__(f"partita.{folder}", fromlist=["__all__"])
    folders = {p.stem for p in SOURCE.glob(f"{folder}/*.py")}
    # A door that loads names when they are asked for needs these three itself.
    own = {"annotations", "Any", "TYPE_CHECKING", "import_module"}
    public = {n for n in vars(module) if not n.startswith("_") and n not in folders | own}

    assert set(module.__all__) >= public - set(FOLDERS)
    assert all(hasattr(module, name) for name in module.__all__)


HEAVY = (
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "torchvision",
    "obstore",
    "websockets",
    "cryptography",
    "grpc",
    "boto3",
    "ray",
)


def test_importing_every_folder_loads_nothing_heavy() -> None:
    """Doors are light: heavy libraries load on first use."""
    script = f"import sys; {'; '.join(f'import partita.{f}' for f in FOLDERS if f != 'testing')}; print([m for m in {HEAVY} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_no_text_names_a_machine_path_or_a_registry() -> None:
    """The project speaks only of itself."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    pattern = re.compile(
        r"(?<![\w.~-])/(?:work|farm|opt|root)/\w|pypi\.o" r"rg|pythonhost" r"ed|registry\.npm" r"js"
    )
    bad = [
        n
        for n in names
        if (ROOT / n).is_file() and n != "LICENSE" and pattern.search((ROOT / n).read_text(errors="ignore"))
    ]

    assert not bad
