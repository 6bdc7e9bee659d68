"""Plan a network for a slow device and a cloud, run it in two processes, and compare with the network whole."""

import asyncio
from dataclasses import replace

from partita.engine import largest_difference
from partita.graph import parse_link
from partita.plan import Question, search
from partita.profile import Effort, measure, measure_codecs, steady_heap, with_threads
from partita.run import Driver, local_remote, run_steps
from partita.wire import LinkShape
from partita.zoo import resolve

MODEL, BATCH, LINK = "zoo:resnet-small", 8, "20mbit/10ms"


async def main() -> None:
    """Capture, measure, plan, run."""
    steady_heap()  # freed memory stays, so that a part takes the same time twice
    model = with_threads(resolve(MODEL, batch=BATCH, depth=1), 1)
    here = measure(model, batches=(BATCH,), effort=Effort(runs=3, budget=3.0))
    here = replace(here, codecs=measure_codecs(["fp16", "int8"]))
    edge = here.slowed(8)  # or a profile that was measured on the device

    link = parse_link(LINK)
    ranking = search(model.chain, {"edge": edge, "cloud": here}, link, Question(batch=BATCH))
    print(ranking.explanation)

    values = model.example(BATCH)
    words = [MODEL, "--batch", str(BATCH), "--depth", "1", "--threads", "1"]
    shape = LinkShape(link.up, link.down, link.rtt)
    async with (
        local_remote(words, shape) as (cloud, _),
        Driver(model, ranking.best, {"cloud": cloud}, slow=8) as driver,
    ):
        report = await run_steps(driver, values, steps=5, window=ranking.best.window)
        outputs, _ = await driver.forward(values)
    print(f"{report.step_seconds * 1e3:.0f} ms per step, {report.bytes_up} bytes up")
    print(f"largest difference from the whole: {largest_difference(outputs, model.whole(values)):.2g}")


if __name__ == "__main__":
    asyncio.run(main())
