"""Planning slices: nothing that trying every cut finds beats the search, and its figures are those of a simulated run."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import ceil, inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partita.errors import BadDocument, Infeasible
from partita.graph import Device, DType, Profile, StageCost, TensorSpec, Timing
from partita.plan import Limits, Platform, Prices
from partita.slice.costs import Costs
from partita.slice.question import SliceQuestion
from partita.slice.searching import search
from partita.slice.transport import choices
from partita.testing import random_chain

DIMS = {"seq": 3}
BIND = {"batch": 2, **DIMS}
OBJECTIVES = ("slices", "latency", "memory", "payload", "cost", "throughput")


def case(seed):
    """A chain with skips, a second input, early answers, a blocked position and a value that cannot travel."""
    draw = random.Random(seed)
    chain = random_chain(seed, stages=draw.randrange(1, 8))
    tensors, stages = dict(chain.tensors), list(chain.stages)
    tensors["late"] = TensorSpec("late", DType.INT64, (draw.choice((1, 30)),))
    for at in draw.sample(range(len(stages)), min(len(stages), 2)):
        stages[at] = replace(stages[at], inputs=(*stages[at].inputs, "late"))
    made = [n for stage in stages for n in stage.outputs]
    if len(made) > 2 and draw.random() < 0.3:
        name = draw.choice(made[:-1])
        tensors[name] = TensorSpec(name, DType.SEQUENCE, None)
    early = {n for n in draw.sample(made, min(2, len(made))) if tensors[n].travels} - set(chain.outputs)
    early |= {"late"} if draw.random() < 0.2 else set()
    blocked = {draw.randrange(1, len(stages)): "no"} if len(stages) > 3 and draw.random() < 0.5 else {}
    return replace(
        chain,
        stages=tuple(stages),
        tensors=tensors,
        inputs=("in0", "late"),
        outputs=(*chain.outputs, *sorted(early)),
        blocked=blocked,
    )


def measured(chain, seed=0, threads=2, peak=0):
    draw = random.Random(seed)
    stages = tuple(
        StageCost(s.name, {2: Timing(draw.uniform(0.01, 1))}, peak_bytes={2: peak} if peak else {})
        for s in chain.stages
    )
    return Profile("m", chain.digest, Device("d", threads=threads), stages, StageCost("whole", {}))


def place(draw):
    pick = lambda *values: draw(st.sampled_from(values))  # noqa: E731
    limits = Limits(
        memory=pick(None, 12_000, 40_000, 200_000),
        package=pick(None, 4_500, 9_000),
        tmp=pick(None, 8_000),
        payload_in=pick(None, 300, 2_000),
        payload_out=pick(None, 2_000),
        seconds=pick(None, 1.5, 6.0),
        runtime_memory=1_000,
        runtime_package=100,
    )
    step = pick(1, 1_000)
    return Platform(
        "place",
        "a place",
        limits,
        event=pick(None, 1_500),
        payload_growth=pick(1.0, 4 / 3),
        memory_least=pick(0, 2_000),
        memory_step=step,
        memory_per_cpu=pick(0, 10_000),
        invoke=0.01,
        start=0.2,
        package_rate=pick(0.0, 1e6),
        store=0.02,
        store_rate=1e6,
        prices=Prices(gb_second=1000.0, request=1e-4, transition=1e-5, put=1e-5, get=1e-6),
    )


@dataclass
class Figures:
    """One slice, as moving named tensors says."""

    weights: int = 0
    memory: float = 0
    event_in: int = 0
    event_out: int = 0
    fetched: int = 0
    put: int = 0
    calls: tuple[int, int] = (0, 0)
    seconds: float = 0
    busy: float = 0
    cold: float = 0
    function: float = 0
    dollars: float = 0
    fits: bool = True


def simulate(chain, question, profile, ends, stored):
    """Run the slices in turn on sets of names."""
    size = {n: t.nbytes(BIND) if t.travels else 0 for n, t in chain.tensors.items()}
    count = len(chain)
    later = lambda b: {n for s in chain.stages[b:] for n in s.inputs} | set(chain.outputs)  # noqa: E731
    total = lambda names: sum(size[n] for n in names)  # noqa: E731
    event, store = {n for n in chain.inputs if n in later(0) - stored}, set(chain.inputs) & stored
    rows = []
    for a, b in pairwise(ends):
        read = {n for s in chain.stages[a:b] for n in s.inputs if chain.maker(n) < a}
        got, made = read & stored, {n for s in chain.stages[a:b] for n in s.outputs}
        assert got <= store
        assert read - stored <= event
        put = made & stored & later(b)
        passed = ((event | made) - stored) & later(b)
        figures = Figures(chain.part_bytes(a, b), 0, total(event), total(passed), total(got), total(put))
        figures.calls = (len(got), len(put))
        largest = max((chain.params[n] for n in chain.part_params(a, b)), default=0)
        figures.memory = 3 * held(chain, size, a, b, read, profile)
        figures.memory += largest * (question.weight_copies - 1)
        rows.append(figures)
        event, store = passed, store | put
    assert set(chain.outputs) <= event | store
    assert count == ends[-1]
    for (a, b), figures in zip(pairwise(ends), rows, strict=True):
        price(figures, question, profile, a, b)
    return rows


def held(chain, size, a, b, read, profile):
    """The most bytes alive at any stage: what came in, and what was made and is still needed, here or after."""
    worst, alive = 0, set()
    for i in range(a, b):
        stage = chain.stages[i]
        alive |= set(stage.outputs)
        extra = 0.0
        if profile is not None:
            own = sum(size[n] for n in {*stage.inputs, *stage.outputs})
            extra = max(0.0, profile.stages[i].peak(2) - own)
        worst = max(worst, sum(size[n] for n in alive) + extra)
        needed = {n for s in chain.stages[i + 1 :] for n in s.inputs} | set(chain.outputs)
        alive &= needed
    return worst + sum(size[n] for n in read)


def price(f, question, profile, a, b):
    """Memory, time and money of one slice, every function size tried."""
    p, limits = question.platform, question.platform.limits
    f.memory += limits.runtime_memory + f.weights + p.payload_growth * (f.event_in + f.event_out)
    cpu = max(1, profile.device.threads) * p.memory_per_cpu if profile else 0
    grown = [p.payload_growth * x for x in (f.event_in, f.event_out)]
    f.fits = (
        f.memory <= question.memory
        and f.weights + 100 <= (limits.package or inf)
        and f.weights <= (limits.tmp or inf)
        and grown[0] <= (limits.payload_in or inf)
        and grown[1] <= (limits.payload_out or inf)
        and max(grown) <= (p.event or inf)
    )
    f.cold = p.start + ((100 + f.weights) * 8 / p.package_rate if p.package_rate else 0)
    if profile is None or not f.fits:
        return
    waiting = (f.fetched + f.put) * 8 / 1e6 + 0.02 * sum(f.calls)
    f.busy = p.invoke + sum(grown) * 8 / 1e6 + waiting
    work = profile.seconds(a, b, 2)
    options, most = [], min(question.memory, 250_000)
    left = (limits.seconds or inf) - f.busy
    edge = ceil(cpu * work / left) if left > 0 else 0
    sizes = (
        range(0, ceil(most) + 1_000, 1_000)
        if p.memory_step > 1
        else [ceil(f.memory), ceil(1.05 * f.memory), 2_000, cpu, edge]
    )
    for size in (
        [question.function_memory] if question.function_memory else {min(s, question.memory) for s in sizes}
    ):
        spare = 1.0 if question.function_memory or limits.memory is None else 1.05
        wanted = min(spare * f.memory, question.memory)
        if size < max(wanted, p.memory_least):
            continue
        seconds = work * max(1.0, cpu / size)
        billed = seconds + waiting + (f.cold if question.cold else 0)
        money = 1000.0 * size / 2**30 * billed + 1.1e-4 + 1e-5 * f.calls[1] + 1e-6 * f.calls[0]
        if seconds + f.busy <= (limits.seconds or inf) * (1 + 1e-9):
            options.append((money, seconds, size))
    f.fits = bool(options)
    if options:
        by_time = question.objective in ("latency", "throughput")
        f.dollars, f.seconds, f.function = min(options, key=lambda o: (o[1], o[0]) if by_time else o)


def value(question, rows):
    payload = sum(f.fetched + f.event_in for f in rows[1:]) + sum(f.put for f in rows[:-1])
    wait = sum(f.seconds + f.busy + (f.cold if question.cold else 0) for f in rows)
    return {
        "slices": len(rows),
        "latency": wait,
        "memory": max(f.memory for f in rows),
        "payload": payload,
        "cost": sum(f.dollars for f in rows),
        "throughput": max(f.seconds + f.busy for f in rows),
    }[question.objective], payload


def every_row(chain, question, profile, option, tensors):
    """All rows that fit under one way to divide tensors between events and store."""
    import numpy as np

    legal = [cut.position for cut in chain.cuts if cut.legal and 0 < cut.position < len(chain)]
    for number in range(1, len(legal) + 2):
        if question.slices not in (None, number):
            continue
        for cuts in combinations(legal, number - 1):
            ends = (0, *cuts, len(chain))
            mask = option.stored(tensors, np.array(ends))
            stored = {tensors.names[i] for i in np.flatnonzero(mask)}
            rows = simulate(chain, question, profile, ends, stored)
            if all(f.fits for f in rows):
                yield ends, rows


def best_by_hand(question, found):
    """What the objective asks for, tried one by one."""
    if question.objective != "slices":
        return min(value(question, rows) for _, rows in found)
    fewest = min(len(rows) for _, rows in found)
    rows = [rows for _, rows in found if len(rows) == fewest]
    heaviest = min(max(f.weights for f in row) for row in rows)
    near = [row for row in rows if max(f.weights for f in row) <= heaviest * (1 + question.slack)]
    return fewest, min(value(question, row)[1] for row in near)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_row_of_slices_beats_the_one_that_is_found(data, objective):
    """For every objective and transport, under drawn limits: the best of all rows, or a refusal where none fits."""
    chain = case(data.draw(st.integers(0, 10_000)))
    profile = measured(
        chain, threads=data.draw(st.sampled_from([0, 2])), peak=data.draw(st.sampled_from([0, 900]))
    )
    timed = objective in ("latency", "cost", "throughput")
    profile = profile if timed or data.draw(st.booleans()) else None
    question = SliceQuestion(
        place(data.draw),
        objective=objective,
        transport=data.draw(st.sampled_from(["inline", "store", "auto"])),
        slices=data.draw(st.sampled_from([None, None, 1, 2, 3])),
        cold=data.draw(st.booleans()),
        prepack=data.draw(st.booleans()),
        batch=2,
        dims=DIMS,
    )
    costs = Costs.of(chain, question, profile)
    options = choices(costs.tensors, costs.positions, question)
    found = [list(every_row(chain, question, profile, o, costs.tensors)) for o in options]
    try:
        plan = search(chain, question, profile=profile)
    except Infeasible:
        assert not any(found)
        return
    except BadDocument:
        assert question.slices > len(costs.positions) - 1
        return
    rows = simulate(chain, question, profile, [0, *plan.cuts, len(chain)], set(plan.stored))
    assert all(f.fits for f in rows)
    best = min(best_by_hand(question, rows) for rows in found if rows)
    got = value(question, rows)
    assert got[0] <= best[0] * (1 + 1e-9)
    if objective == "slices":
        every = [row for rows in found for _, row in rows if len(row) == got[0]]
        least = min(max(f.weights for f in row) for row in every)
        assert max(f.weights for f in rows) <= least * (1 + question.slack)
    if question.transport != "auto":
        assert got[0] == pytest.approx(best[0])
        assert timed or got == pytest.approx(best)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_figures_of_a_plan_are_those_of_a_simulated_run(data):
    """Events, store, memory, functions and time of every slice, counted a second way."""
    chain = case(data.draw(st.integers(0, 10_000)))
    profile = measured(chain, peak=500)
    question = SliceQuestion(
        place(data.draw),
        objective=data.draw(st.sampled_from(OBJECTIVES)),
        transport=data.draw(st.sampled_from(["inline", "store", "auto"])),
        slices=data.draw(st.integers(1, 3)),
        batch=2,
        dims=DIMS,
    )
    try:
        plan = search(chain, question, profile=profile)
    except (Infeasible, BadDocument):
        return
    rows = simulate(chain, question, profile, [0, *plan.cuts, len(chain)], set(plan.stored))
    for piece, f in zip(plan.slices, rows, strict=True):
        events = (piece.payload_in, piece.payload_out, piece.stored_in, piece.stored_out)
        assert events == (f.event_in, f.event_out, f.fetched, f.put)
        assert (piece.weights, piece.memory) == (f.weights, ceil(f.memory))
        assert f.memory <= piece.function_memory + 1e-6
        assert piece.seconds <= f.seconds * (1 + 1e-9) or question.objective != "latency"
        assert piece.cold == pytest.approx(f.cold)
    totals = plan.totals
    assert totals.payload == value(replace(question, objective="payload"), rows)[0]
    assert totals.weights == sum(f.weights for f in rows)
    assert totals.duplicated == totals.weights - chain.part_bytes(0, len(chain))
    assert totals.warm == pytest.approx(sum(p.seconds for p in plan.slices) + sum(f.busy for f in rows))
