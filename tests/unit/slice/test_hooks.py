"""A user's own steps, and how their mistakes are told."""

from pathlib import Path

import numpy as np
import pytest

from partita.errors import BadDocument, BadReference
from partita.slice.hooks import Hooks, load_hooks


def written(folder: Path, text: str) -> Path:
    path = folder / "steps.py"
    path.write_text("import numpy as np\n" + text)
    return path


def test_both_steps_run(tmp_path: Path) -> None:
    hooks = load_hooks(
        written(
            tmp_path,
            "def preprocess(text): return {'x': np.full(2, float(text))}\n"
            "def postprocess(outputs): return outputs['y'].sum()\n",
        )
    )

    assert hooks.preprocess("3")["x"].tolist() == [3.0, 3.0]
    assert hooks.postprocess({"y": np.ones(4)}) == 4.0


def test_a_step_that_is_not_there_changes_nothing() -> None:
    values = {"x": np.ones(2)}

    assert Hooks().preprocess(values) == values
    assert Hooks().postprocess(values) == values


def test_the_file_may_import_its_neighbours_even_late(tmp_path: Path) -> None:
    (tmp_path / "beside_steps.py").write_text("NUMBER = 7\n")
    hooks = load_hooks(
        written(tmp_path, "def postprocess(o):\n    from beside_steps import NUMBER\n    return NUMBER\n")
    )

    assert hooks.postprocess({}) == 7


def test_a_missing_file_is_a_bad_reference(tmp_path: Path) -> None:
    with pytest.raises(BadReference, match=r"none\.py"):
        load_hooks(tmp_path / "none.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "neither preprocess nor postprocess"),
        ("preprocess = 3\n", "preprocess is int, not a function"),
        ("def f(:\n", "line 2: SyntaxError"),
        ("\n1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "line 2: SystemExit: 3"),
        ("import nothing_of_the_kind\n", "line 2: ModuleNotFoundError"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadDocument) as caught:
        load_hooks(written(tmp_path, text))

    assert said in caught.value.problem
    assert "hooks.py" not in caught.value.problem


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return [1]", "preprocess gave list, not a dict"),
        ("return {'x': [1]}", "preprocess gave list under 'x', not a numpy array"),
        ("return {1: np.ones(1)}", "the name 1, which is no text"),
        ("return {}['x']", "preprocess: line 2: KeyError: 'x'"),
        ("np.zeros(2).reshape(3)", "preprocess: line 2: ValueError: cannot reshape"),
    ],
)
def test_a_step_that_goes_wrong_says_where(body: str, said: str, tmp_path: Path) -> None:
    hooks = load_hooks(written(tmp_path, f"def preprocess(_): {body}\n"))
    with pytest.raises(BadDocument) as caught:
        hooks.preprocess(None)

    assert said in caught.value.problem


def test_an_error_carries_no_traceback_of_ours(tmp_path: Path) -> None:
    hooks = load_hooks(written(tmp_path, "def postprocess(_): raise ValueError('wrong')\n"))
    with pytest.raises(BadDocument) as caught:
        hooks.postprocess({})

    assert caught.value.__suppress_context__
