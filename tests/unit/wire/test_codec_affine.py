"""Affine quantization: the error bound, per channel and stochastic, at the ends of the float types."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partita.errors import FrameCorrupt
from partita.wire.codec import decode, encode
from partita.wire.codec_head import Encoded, TensorHead


def relative_error(array: np.ndarray, codec: str) -> float:
    return float(np.linalg.norm(decode(encode(array, codec)) - array) / np.linalg.norm(array))


def half_normal(*shape: int) -> np.ndarray:
    return np.abs(np.random.default_rng(3).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 4, 2])
@given(
    array=arrays(
        np.float32,
        array_shapes(max_dims=3, max_side=7),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_no_value_is_off_by_more_than_half_a_step(bits: int, array: np.ndarray) -> None:
    """Half a step plus the rounding of float32, at any magnitude, from denormals to the largest floats."""
    wide = array.astype(np.float64)
    step = (wide.max() - wide.min()) / (2**bits - 1)

    error = np.abs(decode(encode(array, f"int{bits}")).astype(np.float64) - wide).max()

    assert error <= step * 0.5001 + np.abs(wide).max() * 2**-22 + 2e-45 * 2**bits


def test_int8_loses_at_most_one_percent_of_half_normal_features() -> None:
    """The features behind a ReLU, which a quantizer with a clipped range gets wrong by 7 %."""
    assert relative_error(half_normal(1 << 18), "int8") <= 0.01


@pytest.mark.parametrize(
    "codec", ["int8", "int4", "int2", "int8/channel", "int4/channel:0", "int2/stochastic"]
)
def test_a_constant_comes_back_exactly(codec: str) -> None:
    """One value needs no levels."""
    array = np.full((6, 5, 4), 0.1, np.float32)

    np.testing.assert_array_equal(array, decode(encode(array, codec)))


@pytest.mark.parametrize("codec", ["int8", "int4", "int2"])
def test_the_lowest_value_is_exact(codec: str) -> None:
    """The zeros behind a ReLU stay zeros."""
    array = np.maximum(np.random.default_rng(0).standard_normal((32, 99)), 0).astype(np.float32)

    assert not decode(encode(array, codec))[array == 0].any()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_channels_with_their_own_scale_do_not_disturb_each_other(axis: int) -> None:
    """A channel a thousand times louder costs the others nothing."""
    array = half_normal(8, 16, 24)
    loud = np.moveaxis(array, axis, 0)
    loud[0] *= 1000
    quiet = np.moveaxis(decode(encode(array, f"int8/channel:{axis}")), axis, 0)[1:]

    assert np.linalg.norm(quiet - loud[1:]) / np.linalg.norm(loud[1:]) < 0.01


def test_a_tensor_without_the_channel_axis_gets_one_scale() -> None:
    """A bias has no axis 1."""
    array = half_normal(100)

    assert encode(array, "int8").nbytes == encode(array, "int8/channel").nbytes


@pytest.mark.parametrize(
    "shape", [(1, 3, 70_000), (1, 70_000, 2), (70_000, 3), (3, 200, 200), (5, 1, 65_537)]
)
@pytest.mark.parametrize("codec", ["int8/channel", "int8", "int4/channel", "int2/channel:0"])
def test_tensors_larger_than_a_block_match_the_formula(codec: str, shape: tuple[int, ...]) -> None:
    """Working block by block gives what one expression over the whole gives."""
    array = half_normal(*shape)
    bits = int(codec[3])
    axes = None
    if "channel" in codec:
        axis = 0 if codec.endswith(":0") else 1
        axes = tuple(a for a in range(array.ndim) if a != axis)
    low, high = array.min(axis=axes, keepdims=True), array.max(axis=axes, keepdims=True)
    step = np.maximum((high - low) / np.float32(2**bits - 1), 1e-30)
    expected = np.rint((array - low) / step) * step + low

    off = np.abs(decode(encode(array, codec)) - expected) > np.abs(expected) * 1e-5 + 1e-6

    # A value in the middle of two levels may fall to either by the last bit of the division.
    assert np.count_nonzero(off) <= 1e-4 * array.size


def test_stochastic_rounding_is_right_on_average() -> None:
    """The mean over many draws approaches the value, where rounding to nearest stays off."""
    array = np.array([0.0, 1.0, *[0.4] * 62], np.float32)

    mean = np.mean([decode(encode(array, "int2/stochastic:5", draw=d)) for d in range(400)], axis=0)

    assert np.abs(mean[2:] - 0.4).mean() < 0.01
    assert np.abs(decode(encode(array, "int2"))[2:] - 0.4).mean() > 0.06


@given(st.integers(0, 2**63), st.integers(0, 99))
def test_stochastic_rounding_is_off_by_less_than_one_step(draw: int, seed: int) -> None:
    """It goes to one of the two neighbours, and never beyond the top."""
    array = np.linspace(-1, 1, 97, dtype=np.float32)

    back = decode(encode(array, f"int4/stochastic:{seed}", draw=draw))

    assert np.abs(back - array).max() < 2 / 15 + 1e-6
    assert back.max() <= 1 + 1e-6


@pytest.mark.parametrize("span", [1e-44, 1e-38, 3e38])
def test_spans_at_the_ends_of_float32_are_kept(span: float) -> None:
    """Denormal and huge ranges, where step or range alone would vanish or overflow."""
    array = np.linspace(-span, span, 300).astype(np.float32)

    back = decode(encode(array, "int8"))

    assert np.isfinite(back).all()
    assert np.abs(back.astype(np.float64) - array).max() <= max(span / 255 * 1.001, 2e-45)


def test_float64_keeps_a_small_range_on_a_large_base() -> None:
    """Parameters are as wide as the tensor."""
    array = 1e9 + np.linspace(0, 1e-3, 64)

    assert np.abs(decode(encode(array, "int8")) - array).max() < 1e-3 / 255


@pytest.mark.parametrize("parameters", [[np.nan, 1], [0, np.inf], [0, -1]])
def test_parameters_that_no_encoder_writes_are_refused(parameters: list[float]) -> None:
    """NaN in the parameters would spread over the tensor."""
    bad = Encoded(TensorHead("int8", "float32", (9,)), (np.array(parameters, np.float32).tobytes(), bytes(9)))

    with pytest.raises(FrameCorrupt, match="parameters"):
        decode(bad)
