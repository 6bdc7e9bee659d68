"""`partita slice cut` and `verify`, as one types them: slices or nothing, and a sentence for what is wrong."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.slice import read_manifest
from partita.testing.onnx_models import filled, write_onnx

WIDE = """
    <ir_version: 9, opset_import: ["" : 18]>
    wide (float[batch, 8] x) => (float[batch, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        a = MatMul(x, w1)
        r = Relu(a)
        c = MatMul(r, w2)
        d = Tanh(c)
        y = MatMul(d, w3)
    }"""


@pytest.fixture
def wide(tmp_path: Path) -> str:
    (tmp_path / "wide.onnx").write_bytes(filled(onnx.parser.parse_model(WIDE)).SerializeToString())
    return "wide.onnx"


def listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_slices_are_cut_shown_and_verified(partita: Any, wide: str, tmp_path: Path) -> None:
    done = partita("slice", "cut", wide, "--slices", "3", "-o", "slices")
    proof = partita("slice", "verify", wide, "slices")

    assert (done.code, proof.code) == (0, 0)
    assert "wide in 3 slices for process" in done.out
    assert "partita slice verify wide.onnx slices" in done.out
    assert "equal bit for bit" in proof.out
    assert len(read_manifest(tmp_path / "slices").files) == 3


def test_a_written_plan_is_cut_as_it_says(partita: Any, wide: str, tmp_path: Path) -> None:
    partita("slice", "plan", wide, "--platform", "aws-lambda", "--slices", "2", "-o", "plan.json")
    done = partita("slice", "cut", wide, "--plan", "plan.json", "-o", "slices")

    assert done.code == 0
    assert read_manifest(tmp_path / "slices").plan.platform == "aws-lambda"
    assert partita("slice", "verify", wide, "slices").code == 0


def test_a_plan_with_dims_is_cut_and_verified(partita: Any, tmp_path: Path) -> None:
    path = write_onnx("two_inputs", tmp_path).name
    partita("slice", "plan", path, "--dim", "seq=4", "--slices", "2", "-o", "plan.json")

    assert partita("slice", "cut", path, "--plan", "plan.json", "-o", "slices").code == 0
    assert partita("slice", "verify", path, "slices").code == 0


def test_json_is_one_document(partita: Any, wide: str) -> None:
    manifest = partita("slice", "cut", wide, "--slices", "2", "-o", "slices", "--json").document
    proof = partita("slice", "verify", wide, "slices", "--json", "--seeds", "1").document

    assert len(manifest["files"]) == 2
    assert (proof["equal"], proof["passed"], proof["inputs"], proof["slices"]) == (True, True, 1, 2)
    assert proof["absolute"] == {"y": 0.0}


def test_fast_slices_without_prepacking_say_so_in_their_manifest(
    partita: Any, wide: str, tmp_path: Path
) -> None:
    partita("slice", "cut", wide, "--slices", "2", "-o", "slices", "--exactness", "fast", "--no-prepack")
    manifest = read_manifest(tmp_path / "slices")

    assert (manifest.exactness, manifest.prepack) == ("fast", False)
    assert partita("slice", "verify", wide, "slices").code == 0


def test_a_plan_and_wishes_at_once_are_refused(partita: Any, wide: str, tmp_path: Path) -> None:
    partita("slice", "plan", wide, "--slices", "2", "-o", "plan.json")
    outcome = partita(
        "slice", "cut", wide, "--plan", "plan.json", "--slices", "3", "--batch", "2", "-o", "slices"
    )

    assert outcome.code == 2
    assert "--slices: the plan says this already; --batch: the plan says this already" in outcome.err
    assert not (tmp_path / "slices").exists()


def spoil_model(folder: Path) -> None:
    data = (folder / "wide.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(data[: len(data) // 2])
    (folder / "text.onnx").write_text("not a model")
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    (folder / "broken.json").write_text("{")
    (folder / "bad.toml").write_text("mine = [")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["truncated.onnx", "--slices", "2"], 2, "cut short"),
        (["text.onnx", "--slices", "2"], 2, "not an ONNX file"),
        (["empty.onnx", "--slices", "2"], 2, "not an ONNX file"),
        (["nowhere.onnx", "--slices", "2"], 2, "is no file"),
        (["wide.onnx"], 2, "neither --plan, --slices nor --platform"),
        (["wide.onnx", "--slices", "99"], 2, "slices: 99 are more than"),
        (["wide.onnx", "--slices", "0"], 2, "slices: 0 is below 1"),
        (["wide.onnx", "--platform", "nowhere"], 2, "'nowhere' is not a known platform"),
        (["wide.onnx", "--platforms", "bad.toml", "--platform", "mine"], 2, "is not TOML"),
        (["wide.onnx", "--platforms", "nowhere.toml", "--platform", "mine"], 2, "nowhere.toml"),
        (["wide.onnx", "--plan", "nowhere.json"], 2, "nowhere.json"),
        (["wide.onnx", "--plan", "broken.json"], 2, "is not JSON"),
        (["wide.onnx", "--plan", "wide.onnx"], 2, "cannot be read"),
        (["wide.onnx", "--plan", "other.json"], 2, "made for another model|cuts 'skip'"),
        (["wide.onnx", "--slices", "2", "--profile", "broken.json"], 2, "is not JSON"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_cannot_be_cut_is_a_sentence_and_leaves_nothing(
    partita: Any, wide: str, tmp_path: Path, words: list[str], code: int, said: str, as_json: bool
) -> None:
    spoil_model(tmp_path)
    write_onnx("skip", tmp_path)
    partita("slice", "plan", "skip.onnx", "--slices", "2", "-o", "other.json")
    before = listed(tmp_path)
    outcome = partita("slice", "cut", *words, "-o", "slices", *(["--json"] if as_json else []))

    assert outcome.code == code
    assert listed(tmp_path) == before
    assert "Traceback" not in outcome.out + outcome.err
    if as_json:
        assert outcome.document["problem"]
    else:
        assert re.search(said, outcome.out + outcome.err)


def test_a_folder_of_other_things_is_not_replaced(partita: Any, wide: str, tmp_path: Path) -> None:
    spoil_model(tmp_path)
    outcome = partita("slice", "cut", wide, "--slices", "2", "-o", "mine")

    assert outcome.code == 2
    assert "is not replaced" in outcome.err
    assert listed(tmp_path / "mine") == {"notes.txt"}


def test_what_no_plan_fits_ends_with_5(partita: Any, wide: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text('[tiny]\ntitle = "tiny"\nmemory = "100 B"\n')
    outcome = partita("slice", "cut", wide, "--platforms", "tiny.toml", "--platform", "tiny", "-o", "slices")

    assert outcome.code == 5
    assert "tiny" in outcome.err
    assert listed(tmp_path) == {"wide.onnx", "tiny.toml"}


@pytest.fixture
def cut(partita: Any, wide: str) -> None:
    assert partita("slice", "cut", wide, "--slices", "2", "-o", "slices").code == 0


def alter(folder: Path) -> None:
    file = next(folder.glob("slice-01*.data"))
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def remove(folder: Path) -> None:
    next(folder.glob("slice-01*.onnx")).unlink()


def unlist(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [(alter, 3, "was altered"), (remove, 2, "is missing"), (unlist, 2, "there are no slices in")],
)
@pytest.mark.parametrize("verb", ["verify", "run", "check"])
@pytest.mark.usefixtures("cut")
def test_spoiled_slices_are_named(
    partita: Any, tmp_path: Path, verb: str, spoil: Callable[[Path], None], code: int, said: str
) -> None:
    spoil(tmp_path / "slices")
    outcome = partita("slice", verb, *(["wide.onnx"] if verb == "verify" else []), "slices")

    assert outcome.code == code
    assert said in outcome.err
    assert "fix:" in outcome.err


@pytest.mark.usefixtures("cut")
def test_slices_of_another_model_do_not_verify(partita: Any, tmp_path: Path) -> None:
    write_onnx("split", tmp_path)
    outcome = partita("slice", "verify", "split.onnx", "slices")

    assert outcome.code == 2
    assert "partita slice" in outcome.err


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"z": np.zeros((1, 8), np.float32)}, "'x' is missing; 'z' is not an input"),
        ({"x": np.zeros((1, 8))}, "must be float32, not float64"),
        ({"x": np.zeros((1, 9), np.float32)}, "must have the shape"),
    ],
)
@pytest.mark.parametrize("verb", ["verify", "run", "check"])
@pytest.mark.usefixtures("cut")
def test_wrong_inputs_are_refused_everywhere_in_the_same_words(
    partita: Any, tmp_path: Path, verb: str, made: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "in.npz", **made)
    words = ["wide.onnx", "slices"] if verb == "verify" else ["slices"]
    outcome = partita("slice", verb, *words, "-i", "in.npz")

    assert outcome.code == 2
    assert "inputs of wide" in outcome.err
    assert said in outcome.err


@pytest.mark.usefixtures("cut")
def test_slices_that_give_other_numbers_end_with_3(partita: Any, tmp_path: Path) -> None:
    """Slices of a model with other weights, passed off as those of the model."""
    digest = read_manifest(tmp_path / "slices").plan.digest
    (tmp_path / "wide.onnx").rename(tmp_path / "true.onnx")
    other = filled(onnx.parser.parse_model(WIDE), seed=1)
    (tmp_path / "wide.onnx").write_bytes(other.SerializeToString())
    partita("slice", "cut", "wide.onnx", "--slices", "2", "-o", "slices")
    manifest = tmp_path / "slices" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(read_manifest(tmp_path / "slices").plan.digest, digest))
    (tmp_path / "true.onnx").replace(tmp_path / "wide.onnx")
    outcome = partita("slice", "verify", "wide.onnx", "slices")

    assert outcome.code == 3
    assert "NOT the same numbers" in outcome.out


@pytest.mark.usefixtures("cut")
def test_at_least_one_input_is_tried(partita: Any) -> None:
    outcome = partita("slice", "verify", "wide.onnx", "slices", "--seeds", "0")

    assert outcome.code == 2
    assert "--seeds: 0 is below 1" in outcome.err
