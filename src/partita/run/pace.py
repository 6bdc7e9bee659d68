"""A slower device than this one, pretended: work takes its time, and then as much again as the device would."""

from __future__ import annotations

from time import perf_counter, sleep


def stretch(began: float, factor: float) -> None:
    """Wait until the work that began at `began` (by perf_counter) has taken `factor` times as long as it did."""
    if factor > 1.0:
        sleep((perf_counter() - began) * (factor - 1.0))
