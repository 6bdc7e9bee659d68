"""A file that appears complete or not at all."""

from pathlib import Path

import pytest

from partita.engine.onnx_export import in_place, outside
from partita.errors import BadDocument, BadReference


def test_files_take_their_places_at_the_end(tmp_path: Path) -> None:
    """The weights too; what was there before is replaced."""
    target = tmp_path / "model.onnx"
    target.write_text("old")
    with in_place(target) as scratch:
        (scratch / "model.onnx").write_text("new")
        (scratch / outside(target).name).write_text("weights")
        assert target.read_text() == "old"

    assert target.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    """What was there before stays."""
    target = tmp_path / "model.onnx"
    target.write_text("old")

    def half() -> None:
        with in_place(target) as scratch:
            (scratch / "model.onnx").write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    """Another ending, a folder, a folder that is not there."""
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(BadDocument, match="does not end with"), in_place(tmp_path / "model.bin"):
        pass
    with pytest.raises(BadDocument, match="is a folder"), in_place(tmp_path / "folder.onnx"):
        pass
    with pytest.raises(BadReference, match="No such file"), in_place(tmp_path / "absent" / "model.onnx"):
        pass
