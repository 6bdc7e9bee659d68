"""A captured model: its parts and its whole, run alike."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from partita.engine import onnx_model as module
from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_run import RunSettings
from partita.errors import BadDocument, BadReference, IllegalCut
from partita.testing.onnx_models import NAMES, write_onnx


@pytest.mark.parametrize("name", NAMES)
def test_parts_have_the_names_of_the_chain(name: str, tmp_path: Path) -> None:
    """What a part takes and gives is what the chain says of it, for every legal pair of ends."""
    model = capture_onnx(write_onnx(name, tmp_path))
    cuts = [cut.position for cut in model.chain.cuts if cut.legal]
    for start, stop in pairwise(cuts):
        part = model.part(start, stop)

        assert (part.start, part.stop) == (start, stop)
        assert part.inputs == model.chain.part_inputs(start, stop)
        assert part.outputs == model.chain.part_outputs(start, stop)


def test_large_parts_are_mapped_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what is held in memory a part goes through a file, which is gone when it is loaded."""
    model = capture_onnx(write_onnx("skip", tmp_path))
    values = model.example(2)
    held = model.part(0, 6).forward(values)
    monkeypatch.setattr(module, "_LARGEST_IN_MEMORY", 0)

    assert np.array_equal(model.part(0, 6).forward(values)["y"], held["y"])


def test_the_whole_checks_its_inputs_like_a_part(tmp_path: Path) -> None:
    """The same words for the same mistake."""
    with pytest.raises(BadDocument, match="'x' is missing"):
        capture_onnx(write_onnx("skip", tmp_path)).whole({})


def test_other_settings_leave_the_model_as_it_was(tmp_path: Path) -> None:
    """A copy that runs differently."""
    model = capture_onnx(write_onnx("skip", tmp_path))
    other = model.with_settings(RunSettings(threads=1, level="all"))

    assert model.settings.level == "exact"
    assert other.settings.level == "all"
    assert np.allclose(other.whole(model.example())["y"], model.whole(model.example())["y"], atol=1e-6)


def test_a_model_is_shown_in_a_line(tmp_path: Path) -> None:
    """Not with its whole graph, and two captures are two models."""
    path = write_onnx("skip", tmp_path)

    assert len(repr(capture_onnx(path))) < 300
    assert len({capture_onnx(path), capture_onnx(path)}) == 2


def test_positions_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    """By the chain, in its words."""
    with pytest.raises(IllegalCut, match=r"part \[4:9\] does not exist"):
        capture_onnx(write_onnx("skip", tmp_path)).part(4, 9)


def test_a_file_that_went_away_is_noticed(tmp_path: Path) -> None:
    """Parts and the whole read the file that was captured, or nothing."""
    path = write_onnx("skip", tmp_path)
    model = capture_onnx(path)
    path.unlink()

    with pytest.raises(BadReference, match="removed or written to"):
        model.part(0, 3)
    with pytest.raises(BadReference, match="removed or written to"):
        model.whole(model.example())


def test_weights_are_compared_by_digest(tmp_path: Path) -> None:
    """The same weights in another folder agree; other weights do not."""
    for side in ("a", "b", "c"):
        (tmp_path / side).mkdir()
    paths = [write_onnx("skip", tmp_path / side, seed=seed) for side, seed in (("a", 1), ("b", 1), ("c", 2))]
    digests = [capture_onnx(path).part(1, 3).weights for path in paths]

    assert digests[0] == digests[1] != digests[2]
