"""Chains and profiles made up for planning: small enough to try every plan, odd enough to catch a wrong formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import strategies as st

from partita.graph import (
    Chain,
    CodecCost,
    Device,
    DType,
    Energy,
    Link,
    Profile,
    Stage,
    StageCost,
    TensorSpec,
    Timing,
)
from partita.plan import CodecOption, Hop, Limits, Overhead, PlacedPart, Plan, Question

CODECS = ("raw", "int8", "half")


def build_chain(
    stages: list[Stage],
    dtypes: dict[str, DType],
    sizes: dict[str, int],
    blocked: dict[int, str] | None = None,
) -> Chain:
    made = [name for stage in stages for name in stage.outputs]
    read = {name for stage in stages for name in stage.inputs}
    given = sorted(read - set(made))
    params = {name: 100 * (i + 1) for i, name in enumerate(sorted({p for s in stages for p in s.params}))}
    outputs = tuple(name for name in made if name not in read) or (made[-1],)
    tensors = {
        name: TensorSpec(name, dtypes.get(name, DType.FLOAT32), ("batch", sizes.get(name, 10)))
        for name in [*given, *made]
    }
    return Chain("toy", "test", tuple(stages), tensors, tuple(given), outputs, params, blocked or {})


def build_profile(
    chain: Chain,
    forward: list[float],
    *,
    backward: float = 2.0,
    joules: float | None = None,
    name: str = "device",
) -> Profile:
    rows = tuple(
        StageCost(
            stage.name,
            {1: Timing(seconds), 4: Timing(3 * seconds)},
            {1: Timing(backward * seconds), 4: Timing(3 * backward * seconds)} if backward else {},
            peak_bytes={1: 50 * (i + 1)},
            energy={} if joules is None else {1: Energy(joules * seconds, "stated", False)},
        )
        for i, (stage, seconds) in enumerate(zip(chain.stages, forward, strict=True))
    )
    codecs = {"int8": CodecCost(2e-4, 1e-4), "half": CodecCost(1e-4, 5e-5), "raw": CodecCost(1e-6, 2e-6)}
    return Profile("toy", chain.digest, Device(name), rows, StageCost("whole", {}), codecs)


@pytest.fixture(scope="session")
def line() -> Callable[..., Chain]:
    """A chain of stages in a row, `x -> h0 -> h1 ...`, with the sizes given."""

    def make(sizes: list[int], **keywords: Any) -> Chain:
        names = ["x", *(f"h{i}" for i in range(len(sizes) - 1))]
        stages = [Stage(f"s{i}", (names[i],), (names[i + 1],), (f"w{i}",)) for i in range(len(sizes) - 1)]
        return build_chain(stages, {}, dict(zip(names, sizes, strict=True)), **keywords)

    return make


@pytest.fixture(scope="session")
def profiled() -> Callable[..., Profile]:
    return build_profile


def _draw_chain(draw: Callable[[Any], Any]) -> Chain:
    count = draw(st.integers(1, 5))
    available = ["x", "y"]
    stages = []
    dtypes = {"y": draw(st.sampled_from([DType.INT64, DType.FLOAT32]))}
    for i in range(count):
        inputs = draw(st.lists(st.sampled_from(available), min_size=1, max_size=3, unique=True))
        outputs = tuple(f"h{i}{letter}" for letter in "ab"[: draw(st.integers(1, 2))])
        params = draw(st.lists(st.sampled_from(["w", "v", "u"]), max_size=2, unique=True))
        stages.append(Stage(f"s{i}", tuple(inputs), outputs, tuple(params)))
        available += outputs
        if draw(st.booleans()):
            dtypes[outputs[-1]] = draw(st.sampled_from([DType.INT32, DType.FLOAT16, DType.FLOAT64]))
    sizes = {name: draw(st.integers(1, 400)) for name in available}
    blocked = dict.fromkeys(draw(st.sets(st.integers(1, count), max_size=2)), "because")
    return build_chain(stages, dtypes, sizes, blocked)


_SECONDS = st.floats(0.001, 1.0)


def _draw_link(draw: Callable[[Any], Any]) -> Link:
    rate = st.sampled_from([1e4, 1e5, 1e6])
    return Link(draw(rate), draw(rate), draw(st.sampled_from([0.0, 0.05])), draw(st.booleans()))


def _draw_question(draw: Callable[[Any], Any], objective: str) -> Question:
    mode = draw(st.sampled_from(["infer", "train"]))
    inputs_at_cloud = draw(st.sampled_from([False, False, False, True]))
    return Question(
        objective=objective,
        mode=mode,
        batch=draw(st.sampled_from([1, 3])),
        codecs=CODECS,
        options={"half": CodecOption(factor=0.5, per_tensor=3, error=0.1)},
        max_window=draw(st.integers(0, 3)),
        two_cuts=draw(st.booleans()),
        labels_private=draw(st.booleans()),
        label_bytes=draw(st.sampled_from([0, 70])),
        min_front=0 if inputs_at_cloud else draw(st.integers(0, 2)),
        min_tail=draw(st.integers(0, 1)),
        inputs_at_cloud=inputs_at_cloud,
        alpha=draw(st.sampled_from([0.0, 0.2])),
        beta=draw(st.sampled_from([0.0, 1.0])),
        worth=draw(st.sampled_from([0.0, 0.0, 0.3])),
        window=draw(st.sampled_from([None, None, None, 0, 2])),
        codecs_up=draw(st.sampled_from([None, None, ("int8",)])),
        codecs_down=draw(st.sampled_from([None, None, ("raw", "half")])),
        frozen=draw(st.sampled_from([0, 0, 1, 2, 4])),
        constant=draw(st.sampled_from([frozenset(), frozenset("u"), frozenset("uvw")])),
        legal=draw(st.sampled_from([None, None, frozenset({1, 3})])),
        joules_per_byte=draw(st.sampled_from([0.0, 1e-3])),
        overhead=draw(st.sampled_from([Overhead(), Overhead(0.01, 0.003, 20, 0.1)])),
        rescore=0,
    )


@pytest.fixture(scope="session")
def problem() -> Callable[[Callable[[Any], Any], str], SimpleNamespace]:
    """A whole question to the planner, drawn: chain, profiles, link, question, limits."""

    def make(draw: Callable[[Any], Any], objective: str) -> SimpleNamespace:
        chain = _draw_chain(draw)
        count = len(chain)
        rows = [draw(st.lists(_SECONDS, min_size=count, max_size=count)) for _ in range(2)]
        profiles = {
            "edge": build_profile(chain, rows[0], joules=3.0),
            "cloud": build_profile(chain, [s / 4 for s in rows[1]], joules=9.0),
        }
        bound = st.sampled_from([None, 500, 2000, 8000])
        edge = Limits(
            memory=draw(bound),
            package=draw(bound),
            payload_in=draw(bound),
            seconds=draw(st.sampled_from([None, 2.0])),
            joules=draw(st.sampled_from([None, 5.0])),
            runtime_memory=10,
        )
        limits = {"edge": edge, "cloud": Limits(memory=draw(bound), tmp=draw(bound), payload_in=draw(bound))}
        return SimpleNamespace(
            chain=chain,
            profiles=profiles,
            link=_draw_link(draw),
            question=_draw_question(draw, objective),
            limits=limits if draw(st.booleans()) else {},
        )

    return make


def _shapes(chain: Chain, question: Question) -> Iterator[tuple[list[PlacedPart], bool]]:
    """The parts of every plan the question admits; and whether the plan uses the link."""
    count = len(chain)
    allowed = {0, count, *(range(count) if question.legal is None else question.legal)}
    legal = [cut.position for cut in chain.cuts if cut.legal and cut.position in allowed]
    if not question.inputs_at_cloud:
        yield [PlacedPart("edge", 0, count)], False
    changing = {name for name in chain.params if name not in question.constant}
    for a in legal:
        for b in legal:
            inside = set(chain.part_params(a, b)) & changing
            outside = {*chain.part_params(0, a), *chain.part_params(b, count)}
            if question.mode == "train" and inside & outside:
                continue
            if a >= b or a < question.min_front or (question.inputs_at_cloud and a):
                continue
            front = [] if question.inputs_at_cloud else [PlacedPart("edge", 0, a)]
            middle = PlacedPart("cloud", a, b)
            home_tail = count - b >= question.min_tail and (question.two_cuts or b == count)
            if home_tail:
                yield [*front, middle, PlacedPart("edge", b, count)], True
            far = question.mode == "train" and b == count and not question.labels_private
            if far and not question.min_tail:
                yield [*front, middle], True


@pytest.fixture(scope="session")
def every_plan() -> Callable[[Chain, Question], Iterator[Plan]]:
    """Every plan of two places, one by one."""

    def make(chain: Chain, question: Question) -> Iterator[Plan]:
        windows = range(1 if question.objective == "latency" else question.max_window + 1)
        if question.window is not None:
            windows = [question.window]
        up_codecs, down_codecs = (
            question.codecs_up or question.codecs,
            question.codecs_down or question.codecs,
        )
        for parts, linked in _shapes(chain, question):
            ways = [(u, d) for u in up_codecs for d in down_codecs] if linked else [("raw", "raw")]
            for up, down in ways:
                hops = [Hop(*((up, down) if left.place == "edge" else (down, up))) for left in parts[:-1]]
                for window in windows if linked else [0]:
                    yield Plan(
                        chain.name,
                        chain.digest,
                        tuple(parts),
                        tuple(hops),
                        window,
                        question.batch,
                        question.mode,
                        question.objective,
                    )

    return make
