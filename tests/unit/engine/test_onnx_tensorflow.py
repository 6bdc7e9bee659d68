"""TensorFlow models through tf2onnx, with a stand-in for it."""

import sys
from pathlib import Path

import pytest

from partita.engine.onnx_tensorflow import export_tensorflow, is_tensorflow
from partita.errors import CannotCapture, MissingExtra
from partita.testing.onnx_models import onnx_model

CONVERTER = """
import json, shutil, sys
from pathlib import Path
here = Path(__file__).parent.parent
(here / "asked.json").write_text(json.dumps(sys.argv[1:]))
if "broken" in sys.argv[2]:
    sys.exit("ValueError: this layer has no place in ONNX")
if "silent" not in sys.argv[2]:
    shutil.copy(here / "model.onnx", sys.argv[sys.argv.index("--output") + 1])
"""


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that takes the converter's options and gives a model of ours."""
    place = tmp_path / "libraries"
    for name in ("tf2onnx", "tensorflow"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").touch()
    (place / "tf2onnx" / "convert.py").write_text(CONVERTER)
    (place / "model.onnx").write_bytes(onnx_model("skip").SerializeToString())
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", str(place))
    return place


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("model.h5", "--keras"),
        ("model.keras", "--keras"),
        ("model.tflite", "--tflite"),
        ("saved", "--saved-model"),
    ],
)
def test_every_kind_of_model_is_handed_over_by_its_option(
    converter: Path, tmp_path: Path, name: str, option: str
) -> None:
    """With the operator set that was asked for."""
    import json

    source = tmp_path / name
    done = export_tensorflow(source, tmp_path / "made.onnx", opset=17)
    asked = json.loads((converter / "asked.json").read_text())

    assert asked[:2] == [option, str(source)]
    assert asked[-2:] == ["--opset", "17"]
    assert (done.inputs, done.outputs, done.batch, done.opset) == (("x",), ("y",), "batch", 18)
    assert (done.difference, done.bytes) == (None, done.path.stat().st_size)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("broken.h5", "cannot convert it: ValueError: this layer has no place in ONNX"),
        ("silent.h5", "exit 0"),
    ],
)
def test_what_the_converter_says_is_told(converter: Path, tmp_path: Path, name: str, problem: str) -> None:
    """And nothing is left behind."""
    with pytest.raises(CannotCapture, match=problem):
        export_tensorflow(tmp_path / name, tmp_path / "made.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["libraries"]


@pytest.mark.skipif("tensorflow" in sys.modules, reason="it is there")
def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How to install it."""
    monkeypatch.setattr("partita.engine.onnx_tensorflow.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"export of model\.h5 to ONNX needs tf2onnx") as caught:
        export_tensorflow(tmp_path / "model.h5", tmp_path / "made.onnx")
    assert caught.value.fix == "pip install 'partita[tensorflow]'"


def test_a_tensorflow_model_is_known_by_name_and_content(tmp_path: Path) -> None:
    """A folder is one only with its graph inside."""
    (tmp_path / "saved").mkdir()

    assert not is_tensorflow(tmp_path / "saved")
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert is_tensorflow(tmp_path / "saved")
    assert is_tensorflow(Path("model.tflite"))
    assert not is_tensorflow(Path("torchvision:resnet18"))
