"""The bare install: what an edge device carries works without torch, in an environment that has none."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_extract import write_parts
from partita.testing.onnx_models import write_onnx

ROOT = Path(__file__).parent.parent.parent


def installed(folder: Path) -> Path | None:
    """The Python of a fresh environment with Partita and nothing else; None where no registry answers."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python), str(ROOT)]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", str(ROOT)]
    for command in (uv, pip):
        if subprocess.run(command, capture_output=True, timeout=170, check=False).returncode == 0:
            return python
    return None


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Run Python code in the bare environment and give back what it printed."""
    python = installed(tmp_path_factory.mktemp("bare") / "env")
    if python is None:
        pytest.skip("no package registry answers here, and a fresh environment needs one")

    def run(code: str) -> str:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_folder_imports_without_torch(bare: Callable[[str], str]) -> None:
    """All of Partita but its test helpers loads, and torch is not there."""
    folders = sorted(p.parent.name for p in (ROOT / "src" / "partita").glob("*/__init__.py"))
    imports = "; ".join(f"import partita.{name}" for name in folders)
    code = f"{imports}; import importlib.util as u; print([n for n in ('torch', 'onnx', 'transformers') if u.find_spec(n)])"

    assert bare(code).strip() == "[]"


def test_commands_answer_and_name_what_is_missing(bare: Callable[[str], str]) -> None:
    """Help and doctor work; a torch model is refused with the extra that brings torch."""
    code = "from partita.cli import main; print(main(['--help']), main(['doctor']), main(['inspect', 'zoo:resnet-tiny', '--json']))"
    printed = bare(code)

    assert "pip install 'partita[torch]'" in printed
    assert printed.strip().endswith("0 0 2")


def test_a_part_of_an_onnx_model_runs_without_the_onnx_package(
    bare: Callable[[str], str], tmp_path: Path
) -> None:
    """A part that was cut elsewhere is loaded and run by ONNX Runtime alone."""
    model = capture_onnx(write_onnx("skip", tmp_path))
    (file,) = write_parts(model, [(0, len(model.chain))], tmp_path / "parts")
    code = (
        "import numpy; from partita.engine.onnx_run import OnnxPart; "
        f"print(OnnxPart.load({str(file.path)!r}).forward({{'x': numpy.ones((2, 8), 'float32')}})['y'].shape)"
    )

    assert bare(code).strip() == "(2, 8)"
