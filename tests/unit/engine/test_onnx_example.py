"""Inputs that a model takes: made up by seed, or the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from partita.engine.onnx_capture import capture_onnx
from partita.engine.onnx_model import OnnxModel
from partita.errors import BadDocument, PartFailed, UnboundDimension
from partita.testing.onnx_models import write_onnx

HEAD = '<ir_version: 9, opset_import: ["" : 19]>'


def captured(text: str, folder: Path, **options: object) -> OnnxModel:
    """A model from its text."""
    path = folder / "model.onnx"
    path.write_bytes(onnx.parser.parse_model(HEAD + text).SerializeToString())
    return capture_onnx(path, **options)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_values(tmp_path: Path) -> None:
    """And another seed others."""
    model = capture_onnx(write_onnx("skip", tmp_path))

    assert np.array_equal(model.example(seed=1)["x"], model.example(seed=1)["x"])
    assert not np.array_equal(model.example(seed=1)["x"], model.example(seed=2)["x"])


def test_the_batch_goes_to_the_leading_symbol_and_dims_to_theirs(tmp_path: Path) -> None:
    """Open sizes that nobody bound are small."""
    path = write_onnx("two_inputs", tmp_path)

    assert capture_onnx(path).example(5)["ids"].shape == (5, 8)
    assert capture_onnx(path, dims={"seq": 3}).example(5)["mask"].shape == (5, 3)
    assert capture_onnx(path, dims={"batch": 2}).example()["ids"].shape == (2, 8)


def test_a_fixed_batch_is_not_stretched(tmp_path: Path) -> None:
    """The file says 4; 4 and nothing else is given."""
    model = captured("g (float[4, 8] x) => (float[4, 8] y) { y = Neg(x) }", tmp_path)

    assert model.example(4)["x"].shape == (4, 8)
    with pytest.raises(UnboundDimension, match="'x' is fixed at 4, not 2"):
        model.example(2)


def test_integers_are_legal_indices_and_sizes_are_one(tmp_path: Path) -> None:
    """0 or 1 for a table, 1 for what says how large something is."""
    model = captured(
        "g (int64[n] ids, int64[2] size, bool[n] m) => (int64[a, b] y, bool[n] k)"
        " { t = Neg(ids) y = Expand(t, size) k = Not(m) }",
        tmp_path,
    )
    values = model.example()

    assert set(values["ids"]) <= {0, 1}
    assert values["size"].tolist() == [1, 1]
    assert values["m"].dtype == np.bool_


def test_texts_are_made_up_too(tmp_path: Path) -> None:
    """A model may begin with strings, as long as none crosses a cut."""
    model = captured("g (string[n] s) => (bool[n] y) { e = Identity(s) y = Equal(e, s) }", tmp_path)

    assert not model.chain.cut(1).legal
    assert model.whole(model.example())["y"].all()


def test_what_cannot_be_made_up_is_named(tmp_path: Path) -> None:
    """A sequence is no tensor."""
    model = captured(
        "g (seq(float[2]) s) => (float[2] y) { z = Constant <value = int64 {0}> () y = SequenceAt(s, z) }",
        tmp_path,
    )

    with pytest.raises(PartFailed, match="'s': it is a sequence"):
        model.example()


def test_inputs_of_absurd_size_are_not_made(tmp_path: Path) -> None:
    """A file cannot make us fill the memory."""
    model = captured("g (float[1048576, 1048576] x) => (float[a, b] y) { y = Neg(x) }", tmp_path)

    with pytest.raises(PartFailed, match="1099511627776 values"):
        model.example()


def test_own_inputs_come_back_and_repeat_by_rows(tmp_path: Path) -> None:
    """The user's own at their batch size; for others their rows, which are sure to be legal."""
    own = {"ids": np.array([[1, 2], [30, 31]]), "mask": np.ones((2, 2), np.float32)}
    model = capture_onnx(write_onnx("two_inputs", tmp_path), example=own)

    assert np.array_equal(model.example()["ids"], own["ids"])
    assert model.example(3)["ids"].tolist() == [[1, 2], [30, 31], [1, 2]]
    assert model.example(1)["ids"].tolist() == [[1, 2]]


def test_own_inputs_are_checked_all_at_once(tmp_path: Path) -> None:
    """Names, types and ranks."""
    own = {"ids": np.ones((2, 2), np.float32), "mark": np.ones(1)}

    with pytest.raises(BadDocument) as error:
        capture_onnx(write_onnx("two_inputs", tmp_path), example=own)

    assert error.value.problems == (
        "'mask' is missing",
        "'mark' is not an input",
        "'ids' is int64, not float32",
    )
