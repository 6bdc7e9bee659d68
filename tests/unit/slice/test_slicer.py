"""A folder of slices is complete or absent, and the same plan prepares the same model every time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from partita.engine import largest_difference
from partita.engine.onnx_model import OnnxModel
from partita.errors import BadDocument, BadReference, IllegalCut, PlanMismatch
from partita.plan import pick
from partita.slice import (
    Preparation,
    SliceQuestion,
    capture,
    cut,
    equal_nodes,
    open_slices,
    plan,
    plan_at,
    prepare,
    read_manifest,
    slicer,
)
from partita.testing.onnx_models import filled, write_onnx

WIDE = """
    <ir_version: 9, opset_import: ["" : 18]>
    wide (float[batch, 8] x) => (float[batch, 8] y) <float[8, 64] w1, float[64, 64] w2, float[64, 8] w3> {
        r0 = Relu(x)
        a = MatMul(r0, w1)
        n = Neg(x)
        r = Relu(a)
        c = MatMul(r, w2)
        d = Tanh(c)
        e = Add(d, r)
        f = MatMul(e, w3)
        y = Add(f, n)
    }"""
HOW = {
    "file": Preparation(),
    "optimised": Preparation("extended"),
    "divided": Preparation(divide={"MatMul_4": 3}),
    "ordered": Preparation(order="lazy"),
    "recomputed": Preparation(recompute=("Neg_2",)),
    "everything": Preparation("basic", {"MatMul_3": 2}, "live", ("Relu_2",)),
}


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    path = tmp_path / "wide.onnx"
    path.write_bytes(filled(onnx.parser.parse_model(WIDE)).SerializeToString())
    return path


@pytest.fixture
def slices(wide: Path, tmp_path: Path) -> Callable[..., Path]:
    """Cut the model at these positions into `slices`."""

    def make(*cuts: int, folder: str = "slices", model: Path = wide) -> Path:
        ready = prepare(model, Preparation())
        cut(ready, plan_at(ready.chain, cuts), tmp_path / folder)
        return tmp_path / folder

    return make


def listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def held(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", HOW)
def test_preparing_twice_gives_the_same_chain(wide: Path, name: str) -> None:
    once, again = prepare(wide, HOW[name]), prepare(wide, HOW[name])

    assert once.chain.digest == again.chain.digest
    assert (once.chain.digest == prepare(wide, Preparation()).chain.digest) is (name == "file")


@pytest.mark.parametrize("name", HOW)
def test_a_prepared_model_in_slices_gives_the_numbers_of_the_file(
    wide: Path, tmp_path: Path, name: str
) -> None:
    ready = prepare(wide, HOW[name])
    cuts = tuple(c.position for c in ready.chain.cuts if c.legal and 0 < c.position < len(ready.chain))
    cut(ready, plan_at(ready.chain, cuts, preparation=HOW[name]), tmp_path / "slices")
    values = ready.example(3, seed=1)

    with open_slices(tmp_path / "slices") as opened:
        assert largest_difference(opened.run(values).outputs, prepare(wide, Preparation()).whole(values)) == 0


@pytest.mark.parametrize(
    "made",
    [Preparation(divide={"ghost": 2}), Preparation(recompute=("ghost",)), Preparation(order="alphabetical")],
)
def test_a_preparation_that_the_model_does_not_take_belongs_to_another(wide: Path, made: Preparation) -> None:
    with pytest.raises(PlanMismatch, match=r"wide\.onnx.*another model.*(ghost|alphabetical)"):
        prepare(wide, made)


def test_a_plan_is_not_cut_from_another_model(wide: Path, tmp_path: Path) -> None:
    other = prepare(write_onnx("skip", tmp_path), Preparation())
    ready = prepare(wide, Preparation())

    with pytest.raises(PlanMismatch, match=r"cuts 'skip' .* not 'wide'"):
        cut(ready, plan_at(other.chain, (2,)), tmp_path / "slices")
    assert not (tmp_path / "slices").exists()


def test_cutting_again_replaces_the_slices_and_leaves_nothing_of_them(
    slices: Callable[..., Path], tmp_path: Path
) -> None:
    first = listed(slices(2, 4, 6))
    folder = slices(5)

    assert len(read_manifest(folder).files) == 2
    assert not {name for name in listed(folder) & first if name.startswith("slice-02")}
    assert listed(tmp_path) == {"wide.onnx", "slices"}


def test_folders_on_the_way_are_made_and_the_slices_are_readable(slices: Callable[..., Path]) -> None:
    folder = slices(2, folder="a/b/slices")

    assert len(read_manifest(folder).files) == 2
    assert folder.stat().st_mode & 0o700 == 0o700
    assert folder.stat().st_mode & 0o077 == folder.parent.stat().st_mode & 0o077


def test_a_link_to_a_folder_of_slices_stays_a_link(slices: Callable[..., Path], tmp_path: Path) -> None:
    real = slices(2, folder="real")
    (tmp_path / "link").symlink_to(real)
    slices(2, 4, folder="link")

    assert (tmp_path / "link").is_symlink()
    assert len(read_manifest(real).files) == 3


def occupied(place: Path, how: str) -> None:
    if how == "file":
        place.write_text("mine")
        return
    place.mkdir(exist_ok=True)
    if how == "broken":
        (place / "manifest.json").write_text("{")
    elif how != "empty":
        (place / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("how", "said"),
    [("file", "is a file"), ("foreign", "holds other files and no slices"), ("broken", "cannot be told")],
)
def test_what_is_not_ours_is_not_replaced(
    slices: Callable[..., Path], tmp_path: Path, how: str, said: str
) -> None:
    occupied(tmp_path / "slices", how)
    before = held(tmp_path)

    with pytest.raises(BadReference, match=said):
        slices(2)
    assert held(tmp_path) == before


def test_slices_with_other_files_among_them_are_not_replaced(slices: Callable[..., Path]) -> None:
    folder = slices(2)
    occupied(folder, "foreign")

    with pytest.raises(BadReference, match=r"files that are no slices, such as 'notes\.txt'"):
        slices(4)
    assert (folder / "notes.txt").read_text() == "mine"
    assert read_manifest(folder).plan.cuts == (2,)


def test_an_empty_folder_is_filled(slices: Callable[..., Path], tmp_path: Path) -> None:
    occupied(tmp_path / "slices", "empty")

    assert len(read_manifest(slices(2)).files) == 2


def test_the_folder_that_one_is_in_is_not_pulled_away(
    slices: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied(tmp_path / "slices", "empty")
    monkeypatch.chdir(tmp_path / "slices")

    with pytest.raises(BadReference, match="the folder that you are in"):
        slices(2)
    assert listed(tmp_path) == {"wide.onnx", "slices"}


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_what_was_there(
    slices: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: bool,
    error: BaseException,
) -> None:
    before = listed(slices(2)) if old else None

    def fail(model: Any, parts: Any, folder: Path, **_: Any) -> Any:
        (folder / "slice-00.onnx").write_bytes(b"half")
        raise error

    monkeypatch.setattr(slicer, "write_parts", fail)
    with pytest.raises((BadReference, OSError, KeyboardInterrupt)):
        slices(4)

    assert listed(tmp_path) == {"wide.onnx", "slices"} - (set() if old else {"slices"})
    if old:
        assert listed(tmp_path / "slices") == before
        assert read_manifest(tmp_path / "slices").plan.cuts == (2,)


def test_a_failure_while_moving_brings_the_old_slices_back(
    slices: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = slices(2)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == folder and self.name != "old":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BadReference, match="Permission denied"):
        slices(4)

    assert listed(tmp_path) == {"wide.onnx", "slices"}
    assert read_manifest(folder).plan.cuts == (2,)


@pytest.mark.parametrize("folder", ["wide.onnx/slices", "/proc/nowhere/slices", "a" * 300])
def test_a_place_that_cannot_be_written_is_named(slices: Callable[..., Path], folder: str) -> None:
    with pytest.raises(BadReference, match=r"cannot write there"):
        slices(2, folder=folder)


def test_as_many_slices_as_stages_are_the_most(wide: Path) -> None:
    found = capture(wide, optimize="none")
    count = len(found.chain)

    assert len(plan(found, SliceQuestion(platform=pick("process"), slices=count))[1].slices) == count
    with pytest.raises(
        BadDocument, match=f"slices: {count + 1} are more than 'wide' can be cut into, {count}"
    ):
        plan(found, SliceQuestion(platform=pick("process"), slices=count + 1))


@pytest.mark.parametrize("count", range(1, 13))
def test_equal_node_counts_are_legal_cuts_in_order(wide: Path, count: int) -> None:
    chain = prepare(wide, Preparation()).chain
    cuts = equal_nodes(chain, count)

    assert list(cuts) == sorted(set(cuts))
    assert len(cuts) == min(count, len(chain)) - 1
    assert plan_at(chain, cuts).cuts == cuts


def test_a_cut_where_nothing_can_cross_is_refused(tmp_path: Path) -> None:
    chain = prepare(write_onnx("sequence", tmp_path), Preparation()).chain
    illegal = next(c.position for c in chain.cuts if not c.legal and 0 < c.position < len(chain))

    with pytest.raises(IllegalCut):
        plan_at(chain, (illegal,))


def test_the_dims_of_a_plan_do_not_fix_the_model(tmp_path: Path) -> None:
    """Planned for a sequence of 4, the slices take one of 7."""
    path = write_onnx("two_inputs", tmp_path)
    ready, found = plan(capture(path), SliceQuestion(platform=pick("process"), slices=2, dims={"seq": 4}))
    cut(ready.model, found, tmp_path / "slices")
    again: OnnxModel = prepare(path, found.preparation, batch=found.batch, dims=found.dims)
    values = {name: value[:, :1].repeat(7, axis=1) for name, value in again.example(2).items()}

    assert again.chain.digest == found.digest
    with open_slices(tmp_path / "slices") as opened:
        assert opened.run(values).outputs["y"].shape == (2, 7, 8)
