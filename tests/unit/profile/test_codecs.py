"""What codecs cost, in seconds per raw byte."""

import numpy as np
import pytest

from partita.profile import Effort, measure_codec_pairs, measure_codecs
from partita.profile.codecs import typical_features


def test_costs_are_seconds_for_each_raw_byte_each_way():
    """8 s to encode 16 bytes are half a second a byte, 4 s to decode them a quarter."""
    now = [0.0]

    def taking(seconds, result):
        def run(_):
            now[0] += seconds
            return result

        return run

    sample = np.ones(4, np.float32)
    costs = measure_codec_pairs(
        {"half": (taking(8.0, b"e"), taking(4.0, sample)), "free": (taking(0.0, b""), taking(0.0, sample))},
        sample=sample,
        effort=Effort(clock=lambda: now[0], seconds=0.0),
    )

    assert (costs["half"].encode, costs["half"].decode) == (0.5, 0.25)
    assert (costs["free"].encode, costs["free"].decode) == (0.0, 0.0)


def test_decode_gets_what_encode_made():
    """The pair is run as it would be on two sides."""
    seen = []

    measure_codec_pairs(
        {"x": (lambda a: a.tobytes(), seen.append)}, effort=Effort(runs=1, seconds=0, warmup=0)
    )

    assert set(seen) == {typical_features().tobytes()}


def test_no_codecs_cost_nothing():
    """An empty list is an empty answer."""
    assert measure_codec_pairs({}) == {}


def test_typical_features_are_rectified():
    """Half of the values are zero, none is negative, and the seed decides."""
    features = typical_features(1 << 12)

    assert features.shape == (1, 64, 64)
    assert features.min() == 0
    assert np.mean(features == 0) == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(features, typical_features(1 << 12))


def test_codecs_are_known_by_the_names_that_plans_use():
    """Two of the wire's own, each way."""
    costs = measure_codecs(["raw", "int8"], effort=Effort(runs=1, seconds=0.0, warmup=0))

    assert list(costs) == ["raw", "int8"]
    assert all(cost.encode > 0 and cost.decode > 0 for cost in costs.values())
