"""A step forward and back through real torch parts on two sides of a real conversation, against the module itself."""

import asyncio
from typing import Any

import numpy as np
import pytest
import torch

from partita.engine import largest_difference
from partita.plan import parse_plan
from partita.run import Driver, PlaceServer, Remote
from partita.wire import connect
from partita.zoo import resolve


def captured() -> Any:
    return resolve("zoo:resnet-tiny", batch=4, depth=1)


@pytest.mark.parametrize(
    "text",
    ["edge[0:2] -raw-> cloud[2:6]", "edge[0:1] -raw-> cloud[1:4] -raw-> edge[4:6]", "edge -raw-> cloud[0:6]"],
)
def test_gradients_through_two_sides_are_those_of_the_module(text: str) -> None:
    """Outputs and the gradients of inputs and parameters differ by exactly 0, in train mode with batch normalisation."""
    torch.set_num_threads(1)  # another number of threads adds in another order
    model, oracle = captured(), captured()
    values = model.example(4)
    back = {name: np.ones((4, 10), np.float32) for name in model.chain.outputs}
    oracle.set_mode("train")
    whole = oracle.part(0, len(oracle.chain))
    outputs = whole.forward_kept(values)
    inputs = whole.backward(back)

    async def step() -> Any:
        plan = parse_plan(
            f"{text} | K=0 batch=4 mode=train", model=model.chain.name, digest=model.chain.digest
        )
        async with PlaceServer("mem://step", {model.chain.name: captured}) as server:
            async with (
                Remote(await connect(server.url)) as remote,
                Driver(model, plan, {"cloud": remote}) as driver,
            ):
                return *await driver.train(values, lambda _: back), await driver.gradients()

    got_outputs, got_inputs, _, gradients = asyncio.run(step())

    assert largest_difference(got_outputs, outputs) == 0.0
    assert largest_difference(got_inputs, inputs) == 0.0
    assert largest_difference(gradients, whole.gradients()) == 0.0
