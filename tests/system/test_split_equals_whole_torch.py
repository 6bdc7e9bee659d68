"""Split equals whole, for torch: every legal cut of every kind of model gives the numbers of the module itself.

The oracle is the user's own module, run eagerly, never the traced graph. Differences are exactly 0.0 with one
exception, stated at `summed_apart`: where one gradient is a sum of several, the parts add it up in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from partita.engine import Mode, Values, largest_difference
from partita.engine.torch_capture import capture_torch
from partita.engine.torch_model import TorchModel
from partita.engine.torch_values import to_numpy, to_torch
from partita.testing.models import TINY_MODELS, tiny_model

# Three float32 sums in another order: a few units in the last place of the largest term.
REORDERED = 2e-6

MODES: tuple[Mode, ...] = ("eval", "train")


@dataclass
class Step:
    """What one step leaves behind: answers, gradients of inputs and parameters, buffers."""

    outputs: Values
    inputs: Values
    parameters: Values
    buffers: Values
    seeds: Values = field(default_factory=dict)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: tiny kernels gain nothing from two, and the machine is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def captured(name: str) -> TorchModel:
    """Each model is captured once, at its finest depth."""
    network = tiny_model(name)
    return capture_torch(network.module, network.args, network.kwargs, name=name, depth=99)


@cache
def whole_step(name: str, mode: Mode, batch: int) -> tuple[Values, Step, Values]:
    """The inputs, what the module makes of them in one step, and the buffers before it."""
    model = captured(name)
    model.set_mode(mode)
    values = model.example(batch, seed=3)
    before = buffers(model)
    fresh(model)
    leaves = {n: to_torch(a).clone() for n, a in values.items()}
    for leaf in leaves.values():
        leaf.requires_grad_(leaf.is_floating_point())
    # A model may write to its inputs, which torch forbids for leaves: it gets copies.
    made = model.call({n: leaf.clone() for n, leaf in leaves.items()})
    seeds = gradient_seeds(made)
    torch.autograd.backward([made[n] for n in seeds], [to_torch(seeds[n]) for n in seeds])
    step = Step(
        {n: to_numpy(t).copy() for n, t in made.items()},
        {n: to_numpy(t.grad) for n, t in leaves.items() if t.grad is not None},
        gradients(model),
        buffers(model),
        seeds,
    )
    restore(model, before)
    return values, step, before


def gradient_seeds(made: dict[str, torch.Tensor]) -> Values:
    """A random gradient for every output that has one."""
    random = np.random.default_rng(11)
    return {
        n: random.standard_normal(tuple(t.shape)).astype(np.float32)
        for n, t in made.items()
        if t.requires_grad
    }


def split_step(model: TorchModel, cuts: Sequence[int], values: Values, seeds: Values) -> Step:
    """The same step in parts: forward in order, backward in reverse, gradients of shared values added."""
    fresh(model)
    ends = [0, *cuts, len(model.chain)]
    parts = [model.part(start, stop) for start, stop in pairwise(ends)]
    have = dict(values)
    for part in parts:
        have.update(part.forward_kept({n: have[n] for n in part.inputs}))
    flow = dict(seeds)
    for part in reversed(parts):
        for name, gradient in part.backward({n: flow[n] for n in part.outputs if n in flow}).items():
            flow[name] = flow[name] + gradient if name in flow else gradient
    names = model.layout(model.mode).answer.names
    return Step(
        {n: have[n] for n in names if n is not None},
        {n: flow[n] for n in values if n in flow},
        gradients(model),
        buffers(model),
    )


def fresh(model: TorchModel) -> None:
    """No gradients, and the random numbers from the start: dropout draws the same masks again."""
    model.module.zero_grad()
    torch.manual_seed(5)


def gradients(model: TorchModel) -> Values:
    named = model.module.named_parameters()
    return {n: to_numpy(p.grad).copy() for n, p in named if p.grad is not None}


def buffers(model: TorchModel) -> Values:
    return {n: to_numpy(b).copy() for n, b in model.module.named_buffers()}


def restore(model: TorchModel, before: Values) -> None:
    with torch.no_grad():
        for name, buffer in model.module.named_buffers():
            buffer.copy_(to_torch(before[name]))


def summed_apart(model: TorchModel, cuts: Sequence[int]) -> bool:
    """Whether some gradient is a sum whose terms the cuts separate.

    That is so where a value is read by several stages, one of them behind a cut, or a parameter is used on both
    sides. Then the terms are added per part first, and float addition is not associative.
    """
    chain, position = model.chain, sorted(cuts)
    for cut in position:
        if chain.cut(cut).shared:
            return True
        for tensor in chain.cut(cut).tensors:
            readers = [i for i, s in enumerate(chain.stages) if tensor.name in s.inputs]
            if len(readers) + (tensor.name in chain.outputs) > 2:
                return True
    return False


def assert_equal(name: str, model: TorchModel, cuts: Sequence[int], whole: Step, parts: Step) -> None:
    where = f"{name} cut at {tuple(cuts)} in {model.mode} mode"
    assert largest_difference(whole.outputs, parts.outputs) == 0.0, where
    assert largest_difference(whole.buffers, parts.buffers) == 0.0, where
    for mine, theirs in ((whole.inputs, parts.inputs), (whole.parameters, parts.parameters)):
        assert mine.keys() == theirs.keys(), where
        if not summed_apart(model, cuts):
            assert largest_difference(mine, theirs) == 0.0, where
        for key, gradient in mine.items():
            scale = max(1.0, float(np.abs(gradient).max(initial=0.0)))
            assert np.abs(gradient - theirs[key]).max(initial=0.0) <= REORDERED * scale, (where, key)


def check(name: str, mode: Mode, batch: int, plans: Sequence[Sequence[int]]) -> None:
    model = captured(name)
    values, whole, before = whole_step(name, mode, batch)
    model.set_mode(mode)
    for cuts in plans:
        parts = split_step(model, cuts, values, whole.seeds)
        restore(model, before)
        assert_equal(name, model, cuts, whole, parts)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(TINY_MODELS))
def test_every_legal_cut_gives_the_answers_gradients_and_buffers_of_the_whole(name: str, mode: Mode) -> None:
    """Two parts, at every position, in both modes; dropout draws the same under equal seeds."""
    legal = captured(name).legal_cuts(mode)

    assert len(legal) >= 5
    check(name, mode, 2, [(position,) for position in legal])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(TINY_MODELS))
def test_three_parts_add_the_gradients_of_values_that_two_of_them_read(name: str, mode: Mode) -> None:
    """Random pairs of cuts."""
    random = np.random.default_rng(7)
    legal = captured(name).legal_cuts(mode)

    check(name, mode, 2, [sorted(map(int, random.choice(legal, 2, replace=False))) for _ in range(8)])


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", sorted(TINY_MODELS))
def test_parts_run_at_batch_sizes_that_were_not_captured(name: str, batch: int) -> None:
    """Captured with two, run with one and with five."""
    legal = captured(name).legal_cuts("train")
    # Batch normalisation over one value per channel is an error in train mode, in parts as in the whole.
    mode: Mode = "eval" if batch == 1 else "train"

    check(name, mode, batch, [(position,) for position in legal[1 : -1 : max(1, len(legal) // 6)]])


@pytest.mark.parametrize("name", sorted(TINY_MODELS))
def test_every_position_is_a_legal_cut_of_these_models_in_both_modes(name: str) -> None:
    """Nothing here is blocked: the claims above cover the whole chain."""
    model = captured(name)
    positions = tuple(range(len(model.chain) + 1))

    assert model.legal_cuts("eval") == positions
    assert model.legal_cuts("train") == positions


@pytest.mark.parametrize("name", sorted(TINY_MODELS))
def test_one_part_per_stage_gives_the_answers_of_the_whole(name: str) -> None:
    """As fine as it goes: every stage alone."""
    model = captured(name)
    values, whole, _ = whole_step(name, "eval", 2)
    model.set_mode("eval")
    have = dict(values)
    for k in range(len(model.chain)):
        part = model.part(k, k + 1)
        have.update(part.forward_kept({n: have[n] for n in part.inputs}))

    assert largest_difference(whole.outputs, {n: have[n] for n in whole.outputs}) == 0.0


def test_tied_parameters_get_the_sum_of_both_parts_gradients() -> None:
    """GPT-2 embeds and predicts with one matrix: the two ends add to the same gradient."""
    model = captured("gpt2")
    _, whole, _ = whole_step("gpt2", "eval", 2)
    tied = "transformer.wte.weight"

    assert tied in model.chain.cut(len(model.chain) // 2).shared
    assert np.abs(whole.parameters[tied]).max() > 0
