"""The lossless stage: what it saves, and the bombs it refuses unopened."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zstandard

from partita.errors import FrameCorrupt
from partita.wire.codec import decode, encode
from partita.wire.codec_head import Encoded, TensorHead


def packed(data: bytes, shape: tuple[int, ...]) -> Encoded:
    return Encoded(TensorHead("lossless", "uint8", shape, {"stored": (len(data),)}), (data,))


def test_features_with_many_zeros_shrink() -> None:
    """The shuffle puts the exponents side by side; zeros cost next to nothing."""
    array = np.maximum(np.random.default_rng(0).standard_normal((64, 1024)), 0).astype(np.float32)

    assert encode(array, "lossless").nbytes < 0.6 * array.nbytes


def test_noise_travels_as_it_is() -> None:
    """A buffer that would grow is not compressed, and its length says so."""
    array = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)

    encoded = encode(array, "lossless")

    assert encoded.nbytes == array.nbytes
    np.testing.assert_array_equal(array, decode(encoded))


def test_a_bomb_is_refused_by_the_size_it_states() -> None:
    """30 KB that open to 1 GB in a tensor of 64 KB."""
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 30))

    tracemalloc.start()
    with pytest.raises(FrameCorrupt, match="states 1073741824 bytes where the head implies 65536"):
        decode(packed(bomb, (1 << 16,)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1 << 18


def test_a_frame_that_hides_its_size_is_refused() -> None:
    """Without a size there is no bound."""
    hidden = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 16))

    with pytest.raises(FrameCorrupt, match="head implies"):
        decode(packed(hidden, (1 << 16,)))


def test_a_frame_that_asks_for_a_large_window_is_refused() -> None:
    """The window is memory too: 2 GB of it for nothing."""
    # Magic; 4-byte content size, no single segment; window 2^31; size 65536; one empty raw block.
    frame = bytes.fromhex("28b52ffd80a800000100010000")

    with pytest.raises(FrameCorrupt, match="more memory"):
        decode(packed(frame, (1 << 16,)))


@pytest.mark.parametrize(
    "spoil", [lambda d: b"junk" + d, lambda d: d[:-3], lambda d: d + b"more", lambda d: d[:6] + b"\xff" * 8]
)
def test_damaged_frames_are_refused(spoil: object) -> None:
    """Junk before, bytes missing, bytes after, bytes changed."""
    good = zstandard.ZstdCompressor().compress(bytes(range(256)) * 256)

    with pytest.raises(FrameCorrupt, match="zstandard"):
        decode(packed(spoil(good), (1 << 16,)))  # type: ignore[operator]  # parametrized functions are objects here
