import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from partita.engine import largest_difference
from partita.errors import BadDocument, PlanMismatch
from partita.run import Driver
from partita.run.driver import _Compute
from partita.testing import TinyModel

CUTS = [(0, 6), (3,), (1, 5), (2, 6), (0,), (6,), (2, 4)]


@pytest.mark.parametrize("cuts", CUTS)
def test_parts_give_what_the_whole_gives(
    tiny: TinyModel, driven: Any, plan_of: Any, cuts: tuple[int, ...]
) -> None:
    """Whatever the plan, outputs are equal bit for bit, with the weights of this side."""
    values = tiny.example(3)

    outputs, _ = driven(tiny, plan_of(tiny, *cuts), lambda driver: driver.forward(values))

    assert largest_difference(outputs, tiny.whole(values)) == 0.0


@pytest.mark.parametrize("cuts", CUTS)
def test_gradients_are_those_of_the_whole(
    tiny: TinyModel, driven: Any, plan_of: Any, cuts: tuple[int, ...]
) -> None:
    """Gradients of inputs and of all parameters agree, wherever a part was."""
    values, back = tiny.example(3), {"t5": np.ones((3, 8))}
    part = tiny.part(0, 6)
    part.forward_kept(values)
    expected = part.backward(back)

    async def work(driver: Driver) -> Any:
        _, inputs, _ = await driver.train(values, lambda _: back)
        return inputs, await driver.gradients()

    inputs, gradients = driven(tiny, plan_of(tiny, *cuts, mode="train"), work)

    assert largest_difference(inputs, expected) < 1e-15
    assert largest_difference(gradients, part.gradients()) < 1e-15


def test_a_lossy_codec_changes_values_a_little_and_sends_less(
    tiny: TinyModel, driven: Any, plan_of: Any
) -> None:
    """fp16 on both ways: half of float32's bytes, a quarter of float64's, and a small difference."""
    values = tiny.example(4)

    outputs, times = driven(tiny, plan_of(tiny, 1, 5, codec="fp16"), lambda driver: driver.forward(values))

    assert 0 < largest_difference(outputs, tiny.whole(values)) < 1e-2
    assert times.up == times.down * 2 == 2 * 4 * 8 * 2 or times.up > 0
    assert times.ended > times.began


def test_a_skip_between_local_parts_stays_here(tiny: TinyModel, driven: Any, plan_of: Any) -> None:
    """What only the edge's two parts share is not sent: one tensor goes up, not two."""
    _, times = driven(tiny, plan_of(tiny, 1, 4), lambda driver: driver.forward(tiny.example(2)))

    assert times.up == 2 * 8 * 8


def test_a_missing_input_is_named(tiny: TinyModel, driven: Any, plan_of: Any) -> None:
    """Inputs are checked before anything is sent."""
    with pytest.raises(BadDocument, match="x: is missing"):
        driven(tiny, plan_of(tiny, 3), lambda driver: driver.forward({}))


def test_a_plan_for_another_model_is_refused(tiny: TinyModel, plan_of: Callable[..., Any]) -> None:
    """The driver checks its plan against its model."""
    with pytest.raises(PlanMismatch):
        Driver(tiny, plan_of(TinyModel(3), 1), {})


def test_a_failed_step_does_not_stop_the_next(tiny: TinyModel, driven: Any, plan_of: Any) -> None:
    """After a run in which one step failed and others were cancelled, the driver still works."""
    values = tiny.example(2)

    async def work(driver: Driver) -> Any:
        steps = [asyncio.create_task(driver.forward(values)) for _ in range(6)]
        broken = asyncio.create_task(driver.forward({"x": np.ones((2, 3))}))
        await asyncio.sleep(0)
        for step in steps[2:]:
            step.cancel()
        await asyncio.gather(*steps, broken, return_exceptions=True)
        assert broken.exception() is not None
        return (await driver.forward(values))[0]

    assert largest_difference(driven(tiny, plan_of(tiny, 2, 4), work), tiny.whole(values)) == 0.0


def test_a_cancelled_turn_is_passed_on() -> None:
    """Whoever is cancelled while it waits, or in the moment its turn comes, blocks nobody."""

    async def scene() -> list[str]:
        compute, done = _Compute(), []
        gate = threading.Event()
        first = asyncio.create_task(compute.run(0, 0, gate.wait))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(compute.run(0, i, lambda: None)) for i in (1, 2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        gate.set()
        await first
        waiting[1].cancel()  # its turn has just come
        await asyncio.gather(*waiting, return_exceptions=True)
        done.append(await compute.run(0, 3, lambda: "worked"))
        compute.close()
        return done

    assert asyncio.run(asyncio.wait_for(scene(), 20)) == ["worked"]
