"""Plans of slices print, parse back and refuse what does not hang together."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, PlanMismatch
from partita.graph import Chain, dump, load
from partita.slice import Preparation, Slice, SlicePlan, Totals, bindings, plan_at, prepare
from partita.testing.onnx_models import write_onnx

COUNT = st.integers(0, 1 << 60)
SECONDS = st.none() | st.floats(0, 1e9)
NAME = st.text(min_size=1, max_size=8)


def plan(*parts: tuple[int, int], stages: int = 6, **more: Any) -> SlicePlan:
    given: dict[str, Any] = {
        "model": "m", "digest": "sha256:0", "preparation": Preparation(), "platform": "process",
        "objective": "slices", "transport": "auto", "batch": 1, "dims": {},
    }  # fmt: skip
    slices = tuple(Slice(a, b, weights=1, memory=2, function_memory=3) for a, b in parts)
    return SlicePlan(stages=stages, slices=slices, **(given | more))


@st.composite
def plans(draw: Any) -> SlicePlan:
    ends = sorted(draw(st.sets(st.integers(1, 40), min_size=1, max_size=6)))
    sizes = st.builds(
        Slice, st.just(0), st.just(1), COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, SECONDS, SECONDS, st.text()
    )  # fmt: skip
    slices = tuple(replace(draw(sizes), start=a, stop=b) for a, b in zip([0, *ends[:-1]], ends, strict=True))
    made = Preparation(
        draw(st.sampled_from(["none", "basic", "extended"])),
        draw(st.dictionaries(NAME, st.integers(2, 9), max_size=3)),
        draw(NAME),
        tuple(draw(st.lists(NAME, max_size=3))),
    )
    totals = st.builds(Totals, COUNT, COUNT, COUNT, COUNT, COUNT, SECONDS, SECONDS, SECONDS, SECONDS)
    return replace(
        plan((0, 6)),
        stages=ends[-1],
        slices=slices,
        preparation=made,
        dims=draw(st.dictionaries(NAME, st.integers(0, 99), max_size=3)),
        stored=tuple(draw(st.lists(NAME, max_size=3))),
        totals=draw(st.none() | totals),
        notes=tuple(draw(st.lists(st.text(), max_size=2))),
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return prepare(write_onnx("skip", tmp_path_factory.mktemp("document")), Preparation()).chain


@given(plans())
def test_a_plan_reads_back_as_it_was_written(found: SlicePlan) -> None:
    assert load(SlicePlan, dump(found)) == found


def test_its_cuts_and_parts_are_those_of_its_slices() -> None:
    found = plan((0, 2), (2, 5), (5, 6))

    assert found.cuts == (2, 5)
    assert found.parts == ((0, 2), (2, 5), (5, 6))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((), ["slices: there are none"]),
        (((1, 6),), ["slices[0]: [1:6] does not go on from 0"]),
        (((0, 2), (3, 6)), ["slices[1]: [3:6] does not go on from 2"]),
        (((0, 4), (3, 6)), ["slices[1]: [3:6] does not go on from 4"]),
        (((0, 0), (0, 6)), ["slices[0]: [0:0] does not go on from 0"]),
        (((0, 3), (3, 5)), ["slices: they end at 5 of 6 stages"]),
        (((1, 2), (3, 5)), ["slices[0]", "slices[1]", "slices: they end at 5"]),
    ],
)
def test_slices_that_do_not_follow_each_other_are_all_refused(parts: Any, said: list[str]) -> None:
    with pytest.raises(BadDocument) as caught:
        plan(*parts)

    assert len(caught.value.problems) == len(said)
    assert all(p.startswith(s) for p, s in zip(caught.value.problems, said, strict=True))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stages", 7),
        ("stages", "six"),
        ("objective", "beauty"),
        ("transport", "pigeon"),
        ("batch", "one"),
        ("slices", []),
        ("preparation", {"optimize": "all"}),
        ("preparation", {"divide": {"a": "two"}}),
    ],
)
def test_a_written_plan_with_a_wrong_field_is_refused_by_name(field: str, value: Any) -> None:
    import json

    written = {**json.loads(dump(plan((0, 6)))), field: value}

    with pytest.raises(BadDocument, match="slices" if field == "stages" and value == 7 else field):
        load(SlicePlan, json.dumps(written), name="plan.json")


def test_a_plan_cannot_be_changed_through_its_mappings() -> None:
    dims, divide = {"seq": 3}, {"a": 2}
    found = plan((0, 6), dims=dims, preparation=Preparation(divide=divide))
    dims["seq"], divide["a"] = 4, 3

    assert (found.dims["seq"], found.preparation.divide["a"]) == (3, 2)


def test_a_plan_takes_its_own_chain_and_names_another(chain: Chain) -> None:
    found = plan_at(chain, (2,))
    found.check(chain)

    with pytest.raises(PlanMismatch, match=f"cuts 'skip' .* not 'other' .*{len(chain)} stages"):
        found.check(
            replace(chain, name="other", stages=(replace(chain.stages[0], name="z"), *chain.stages[1:]))
        )


def test_the_batch_is_the_first_open_dimension_and_given_dims_win(chain: Chain) -> None:
    assert bindings(chain, 4, {}) == {"batch": 4}
    assert bindings(chain, 4, {"batch": 2, "seq": 9}) == {"batch": 2, "seq": 9}
    renamed = chain.tensors["x"]
    other = replace(chain, tensors={**chain.tensors, "x": replace(renamed, shape=("n", 8))})
    assert bindings(other, 4, {})["n"] == 4
