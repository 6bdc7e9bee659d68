"""One slice as a function: events in, events out, and a store for what the plan does not send."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from partita.engine import Values, largest_difference
from partita.errors import BadDocument, CorruptArtifact, NotFound, PlanMismatch
from partita.slice import Manifest, Preparation, read_manifest
from partita.slice.event import Event, FolderStore, answer, first_event, key_of
from partita.slice.inputs import made_inputs
from partita.slice.payload import unpack
from partita.slice.runner import open_slices
from partita.slice.slicer import cut, equal_nodes, plan_at, prepare
from partita.slice.stage import Stage
from partita.testing.onnx_models import write_onnx


def sliced(name: str, folder: Path, stored: tuple[str, ...] = (), slices: int = 3) -> Path:
    ready = prepare(write_onnx(name, folder), Preparation())
    plan = replace(plan_at(ready.chain, equal_nodes(ready.chain, slices), batch=2), stored=stored)
    cut(ready, plan, folder / "slices")
    return folder / "slices"


def through(folder: Path, manifest: Manifest, values: Values, store: FolderStore | None = None) -> Values:
    event = first_event(manifest, values, store)
    for index in range(len(manifest.files)):
        event = Event.unpack(Stage(folder, index).call_bytes(event.pack(), store))
    return answer(manifest, event, store)


@pytest.mark.parametrize("name", ["skip", "split", "late_input", "early_output", "passing", "branch"])
@pytest.mark.parametrize("all_stored", [False, True], ids=["inline", "stored"])
def test_a_chain_of_stages_gives_what_one_process_gives(name: str, all_stored: bool, tmp_path: Path) -> None:
    folder = sliced(name, tmp_path)
    if all_stored:
        everything = tuple(read_manifest(folder).tensors)
        folder = sliced(name, tmp_path, stored=everything)
    manifest = read_manifest(folder)
    values = made_inputs(manifest)
    store = FolderStore(tmp_path / "store")
    with open_slices(folder) as slices:
        expected = slices.run(values).outputs

    assert largest_difference(through(folder, manifest, values, store), expected) == 0.0


def test_what_is_stored_does_not_travel(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path, stored=("a", "r"), slices=2)
    manifest, store = read_manifest(folder), FolderStore(tmp_path / "store")
    before = first_event(manifest, made_inputs(manifest), store, run="one")
    after = Stage(folder, 0).call(before, store)
    crossing = set(manifest.needed(1))

    assert set(after.stored) == crossing & {"a", "r"} != set()
    assert not set(after.values) & {"a", "r"}
    for name in after.stored:
        assert list(unpack(store.get(key_of("one", name))).values) == [name]


def test_an_event_keeps_everything_as_bytes(tmp_path: Path) -> None:
    folder = sliced("two_inputs", tmp_path)
    manifest = read_manifest(folder)
    event = first_event(manifest, made_inputs(manifest), None, run="r.1")
    again = Event.unpack(event.pack())

    assert (again.run, again.plan, again.stage, again.stored) == ("r.1", event.plan, 0, ())
    assert largest_difference(dict(again.values), dict(event.values)) == 0.0


def test_the_folder_needs_to_hold_no_other_slice(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    manifest = read_manifest(folder)
    event = Stage(folder, 0).call(first_event(manifest, made_inputs(manifest), None))
    for name in manifest.files[0].names:
        (folder / name).unlink()

    assert Stage(folder, 1).call(event).stage == 2


def test_an_event_of_another_cut_is_refused(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path, slices=3)
    manifest = read_manifest(folder)
    event = first_event(manifest, made_inputs(manifest), None)
    sliced("skip", tmp_path, slices=2)
    with pytest.raises(PlanMismatch, match="belongs to the cut"):
        Stage(folder, 0).call(event)


def test_an_event_for_another_slice_is_refused(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    manifest = read_manifest(folder)
    with pytest.raises(PlanMismatch, match="is for slice 0"):
        Stage(folder, 1).call(first_event(manifest, made_inputs(manifest), None))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    manifest = read_manifest(folder)
    event = first_event(manifest, made_inputs(manifest), None)
    with pytest.raises(BadDocument, match="'x' did not come"):
        Stage(folder, 0).call(replace(event, values={}))


def test_a_plan_that_stores_needs_a_store(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path, stored=("x",))
    manifest = read_manifest(folder)
    with pytest.raises(BadDocument, match="through a store"):
        first_event(manifest, made_inputs(manifest), None)


def test_a_value_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path, stored=("x",))
    manifest, store = read_manifest(folder), FolderStore(tmp_path / "store")
    event = first_event(manifest, made_inputs(manifest), store)
    store.forget(event.run)
    with pytest.raises(NotFound, match=event.run):
        Stage(folder, 0).call(event, store)


def test_an_altered_slice_is_not_loaded(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path)
    path = folder / read_manifest(folder).files[1].path
    path.write_bytes(path.read_bytes() + b"\0")
    Stage(folder, 0)
    with pytest.raises(CorruptArtifact, match="slice 1"):
        Stage(folder, 1)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_number_beyond_the_slices_is_refused(index: int, tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="0 to 2"):
        Stage(sliced("skip", tmp_path), index)


def test_runs_that_share_a_store_never_meet(tmp_path: Path) -> None:
    folder = sliced("skip", tmp_path, stored=("x", "a", "r", "c", "d", "e", "y"))
    manifest, store = read_manifest(folder), FolderStore(tmp_path / "store")
    stages = [Stage(folder, index) for index in range(3)]

    def run(seed: int) -> Values:
        event = first_event(manifest, made_inputs(manifest, seed), store)
        for stage in stages:
            event = stage.call(event, store)
        return answer(manifest, event, store)

    with ThreadPoolExecutor(16) as pool, open_slices(folder) as slices:
        for seed, found in enumerate(pool.map(run, range(32))):
            expected = slices.run(made_inputs(manifest, seed)).outputs
            assert largest_difference(found, expected) == 0.0
