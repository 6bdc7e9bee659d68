from typing import Any

import pytest

from partita.engine import largest_difference
from partita.errors import BadDocument
from partita.run import Driver, RunReport, run_steps
from partita.testing import TinyModel


@pytest.mark.parametrize("window", [0, 1, 4])
def test_every_step_of_a_window_gives_the_right_outputs(
    tiny: TinyModel, driven: Any, plan_of: Any, window: int
) -> None:
    """Steps on their way together do not mix."""
    values, seen = tiny.example(2), []

    async def work(driver: Driver) -> RunReport:
        return await run_steps(
            driver, values, steps=12, window=window, on_outputs=lambda i, o: seen.append((i, o))
        )

    report = driven(tiny, plan_of(tiny, 2, 4), work)

    assert sorted(index for index, _ in seen) == list(range(2, 14))
    assert all(largest_difference(outputs, tiny.whole(values)) == 0.0 for _, outputs in seen)
    assert report.steps == 12
    assert report.step_seconds > 0


def test_no_more_than_the_window_is_on_its_way(tiny: TinyModel, driven: Any, plan_of: Any) -> None:
    """K = 2 means three steps at once, and never more."""
    most = 0

    async def work(driver: Driver) -> None:
        now = 0
        forward = driver.forward

        async def counted(*args: Any, **options: Any) -> Any:
            nonlocal now, most
            now += 1
            most = max(most, now)
            try:
                return await forward(*args, **options)
            finally:
                now -= 1

        driver.forward = counted  # type: ignore[method-assign]
        await run_steps(driver, tiny.example(2), steps=20, window=2, warmup=0)

    driven(tiny, plan_of(tiny, 3), work)

    assert most == 3


def test_the_first_failure_of_many_steps_is_the_one_that_is_raised(
    tiny: TinyModel, driven: Any, plan_of: Any
) -> None:
    """A failed step ends the run with its own error, not with a group of them."""

    async def work(driver: Driver) -> None:
        await run_steps(driver, {}, steps=4, window=2, warmup=0)

    with pytest.raises(BadDocument, match="x: is missing"):
        driven(tiny, plan_of(tiny, 3), work)
