"""The test cases of the onnx package as slices: every operator of the standard, planned, cut and run, not one bit lost.

Every case that ONNX Runtime runs is prepared as slicing prepares it (optimised once, at the extended level) and
compared with ONNX Runtime's own answer at that level on the case's own file: with every cut by itself, with the cuts
that the planner chooses for few slices and many, in other orders and with cheap stages folded, in memory and
through files. There is no exception. Those that ONNX Runtime does not run whole are listed in NOT_RUN, with reasons.
"""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from partita.engine import Values
from partita.engine.onnx_model import OnnxModel
from partita.engine.onnx_proof import run_parts
from partita.engine.onnx_run import OnnxPart, RunSettings
from partita.errors import CannotCapture, PartFailed, PartitaError
from partita.plan import pick
from partita.slice import Preparation, SliceQuestion, bindings, cut, open_slices, prepare, search
from partita.slice.order import orders
from partita.slice.recompute import worth_recomputing

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
NUMBERS = (2, 3, 5, 8, 13)
ONE_THREAD = RunSettings(threads=1)
AT_LEVEL = RunSettings(threads=1, level="extended")
PLACE = pick("process")
# For dimensions that nobody named: sizes only decide where the planner cuts, and any will do.
OPEN = 4
# The onnx package may be ahead of ONNX Runtime. A case that needs nothing of the newest version is written in the last
# one that this ONNX Runtime reads; one that does is refused, and counted below.
IR, OPSET = 13, 26
# Why a case has no whole to compare with. Each reason is what Partita says when the model is captured or run.
NOT_RUN = {
    "no kernel": r"with types for which ONNX Runtime \S+ has no implementation on the CPU",
    "no such operator": r"uses the operator \S+, which neither ONNX Runtime \S+ nor the file defines",
    "refused by ONNX Runtime": r"ONNX Runtime \S+ does not load",
}


@dataclass(frozen=True)
class Case:
    """A prepared model, inputs, and what ONNX Runtime gives for the model's own file."""

    name: str
    model: OnnxModel
    values: Values
    wanted: Values
    bind: dict[str, int]

    @property
    def legal(self) -> list[int]:
        return [at.position for at in self.model.chain.cuts[1:-1] if at.legal]

    def lost(self, model: OnnxModel, cuts: tuple[int, ...] | list[int]) -> list[str]:
        """The outputs that are not the same bit for bit."""
        return differing(run_parts(model, cuts, self.values), self.wanted)

    def chosen(self, model: OnnxModel, slices: int) -> tuple[int, ...]:
        return search(model.chain, SliceQuestion(PLACE, slices=slices, dims=self.bind)).cuts


def differing(found: Values, wanted: Values) -> list[str]:
    assert found.keys() == wanted.keys()
    return [name for name in wanted if not same(found[name], wanted[name])]


def same(one: Any, other: Any) -> bool:
    """Equal bit for bit; texts letter for letter; sequences item for item."""
    if isinstance(one, list) or isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()


def raw_cases() -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """(name, model, inputs) as the onnx package has them; inputs as far as they are tensors."""
    from onnx.backend.test.loader import load_model_tests

    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
            given = case.data_sets[0][0] if case.data_sets else None
            names = [value.name for value in model.graph.input]
            tensors = given is not None and all(isinstance(value, np.ndarray) for value in given)
            yield case.name, model, dict(zip(names, given, strict=False)) if tensors else None


def readable(model: Any) -> Any:
    """The same model in the versions that ONNX Runtime reads."""
    model.ir_version = min(model.ir_version, IR)
    for used in model.opset_import:
        if used.domain in ("", "ai.onnx"):
            used.version = min(used.version, OPSET)
    return model


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Case], dict[str, PartitaError], int]:
    """The cases that can be cut, why others do not run, and how many are a single stage."""
    folder = tmp_path_factory.mktemp("cases")
    found, refused, single = [], {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference implementations overflow on purpose
        cases = list(raw_cases())
    for name, proto, given in cases:
        path = folder / f"{name}.onnx"
        path.write_bytes(readable(proto).SerializeToString())
        try:
            model = prepare(path, Preparation("extended")).with_settings(ONE_THREAD)
            chain = model.chain
            if not any(at.legal for at in chain.cuts[1:-1]):
                single += 1
                continue
            values = model.example(seed=1) if given is None else {name: given[name] for name in chain.inputs}
            wanted = OnnxPart.load(path, AT_LEVEL).forward(values)
        except PartitaError as error:
            refused[name] = error
            continue
        open_ones = {symbol: OPEN for spec in chain.tensors.values() for symbol in spec.symbols}
        found.append(Case(name, model, values, wanted, {**open_ones, **bindings(chain, 1, {})}))
    return found, refused, single


@pytest.fixture(scope="module")
def cases(suite: Any) -> list[Case]:
    return list(suite[0])


def test_every_cut_by_itself_gives_the_bits_of_the_whole(cases: list[Case]) -> None:
    """Hundreds of models, thousands of cuts, float16 included."""
    lost = {(c.name, at): names for c in cases for at in c.legal if (names := c.lost(c.model, [at]))}

    assert lost == {}
    assert len(cases) >= 450
    assert sum(len(case.legal) for case in cases) >= 4500
    assert sum("float16" in {t.dtype for t in c.model.chain.tensors.values()} for c in cases) >= 5


def test_slices_where_the_planner_cuts_give_the_bits_of_the_whole(cases: list[Case]) -> None:
    """In few slices and in many, up to every stage a slice of its own."""
    lost, done = {}, Counter[int]()
    for case in cases:
        most = len(case.legal) + 1
        for number in sorted({n for n in NUMBERS if n < most} | {most}):
            cuts = case.chosen(case.model, number)
            assert len(cuts) == number - 1
            done[number] += 1
            if names := case.lost(case.model, cuts):
                lost[case.name, number] = names

    assert lost == {}
    assert all(done[number] >= 100 for number in NUMBERS), done


def test_other_orders_and_folded_stages_give_the_bits_of_the_whole(cases: list[Case]) -> None:
    """Forced, whether they are worth it or not: in three slices, and every stage a slice of its own."""
    lost, done = {}, Counter[str]()
    for case in random.Random(30).sample(cases, 240):
        for label, model in arranged(case):
            most = sum(at.legal for at in model.chain.cuts[1:-1]) + 1
            for number in {min(3, most), most} - {1}:
                done[label] += 1
                if names := case.lost(model, case.chosen(model, number)):
                    lost[case.name, label, number] = names

    assert lost == {}
    assert min(done[label] for label in ("live", "lazy")) >= 30, done
    assert min(done[label] for label in ("worth folding", "all folded")) >= 100, done


def arranged(case: Case) -> Iterator[tuple[str, OnnxModel]]:
    """A case in every order of its own, and in each with stages folded."""
    seen = []
    for order, indices in orders(case.model.chain, case.bind).items():
        if indices in seen:
            continue
        seen.append(indices)
        model = case.model.rearranged(indices)
        if order != "file":
            yield order, model
        worth = worth_recomputing(model.chain, case.bind, model.cheap)
        every = tuple(model.chain.stages[index].name for index in sorted(model.cheap))
        if worth:
            yield "worth folding", model.rearranged(None, worth)
        if every and every != worth and len(every) < len(model.chain):
            yield "all folded", model.rearranged(None, every)


def test_slices_from_files_give_the_bits_of_the_whole(cases: list[Case], tmp_path: Path) -> None:
    """Every type of tensor that crosses a cut somewhere, and a sample of the rest."""
    lost, types = {}, set[str]()
    sample = random.Random(20).sample(cases, 150)
    for case in cases:
        chain = case.model.chain
        number = min(5, len(case.legal) + 1)
        plan = search(chain, SliceQuestion(PLACE, slices=number, dims=case.bind))
        crossing = {str(tensor.dtype) for at in plan.cuts for tensor in chain.cut(at).tensors}
        if crossing <= types and case not in sample:
            continue
        types |= crossing
        cut(case.model, plan, tmp_path / "slices")
        with open_slices(tmp_path / "slices", threads=1) as slices:
            if names := differing(slices.run(case.values).outputs, case.wanted):
                lost[case.name] = names

    assert lost == {}
    assert types >= {"float32", "float16", "float64", "int64", "int32", "uint8", "bool", "bfloat16"}, types


def test_only_what_onnx_runtime_does_not_run_is_left_out(suite: Any) -> None:
    """Each with one reason of NOT_RUN; a slice never fails where the whole runs."""
    _, refused, single = suite
    reasons = Counter[str]()
    for name, error in refused.items():
        assert isinstance(error, CannotCapture | PartFailed), name
        found = [reason for reason, said in NOT_RUN.items() if re.search(said, str(error))]
        assert len(found) == 1, (name, str(error))
        reasons[found[0]] += 1

    assert set(reasons) == set(NOT_RUN)
    assert len(refused) < 250 < single
