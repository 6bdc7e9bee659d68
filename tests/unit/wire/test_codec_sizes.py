"""Sizes without tensors: what the planner asks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from partita.wire.codec_name import parse_name
from partita.wire.codec_sizes import applied_name, codec_ratio, encoded_bytes, index_bytes


@pytest.mark.parametrize(
    ("codec", "ratio"),
    [
        ("raw", 1),
        ("fp16", 2),
        ("bf16", 2),
        ("int8", 4),
        ("int4", 8),
        ("int2", 16),
        ("topk:0.1", 12.3),
        ("int8/channel", 4),
    ],
)
def test_ratios_of_float32_features(codec: str, ratio: float) -> None:
    """What everybody expects of these codecs; parameters cost less than a percent."""
    assert codec_ratio(codec) == pytest.approx(ratio, rel=0.01)


def test_the_lossless_ratio_is_an_estimate_below_the_plain_size() -> None:
    """Planning with it is better than planning without."""
    assert encoded_bytes("lossless", "float32", (64, 64)) < 64 * 64 * 4
    assert encoded_bytes("int8+lossless", "float32", (64, 64)) < encoded_bytes("int8", "float32", (64, 64))


@pytest.mark.parametrize(
    ("codec", "dtype", "shape"),
    [
        ("int8", "int64", (9, 9)),
        ("int8", "float32", ()),
        ("fp16", "bfloat16", (9, 9)),
        ("int4", "float32", (0,)),
        ("topk:1", "float16", (9, 99)),
    ],
)
def test_a_codec_that_would_not_save_bytes_is_not_applied(
    codec: str, dtype: str, shape: tuple[int, ...]
) -> None:
    """Never larger than raw."""
    assert str(applied_name(parse_name(codec), dtype, shape)) == "raw"


def test_huge_rows_have_wide_indices() -> None:
    """Four bytes end at 2^32 values in a row."""
    assert [index_bytes(columns, 1) for columns in (1 << 8, 1 << 16, 1 << 32, (1 << 32) + 1)] == [1, 2, 4, 8]


def test_sizes_need_no_numpy() -> None:
    """The module and its imports are standard library: a plan can be read anywhere."""
    code = (
        "import importlib.util, sys, types; from pathlib import Path; import partita.errors as e;"
        "root = Path(e.__file__).parent / 'wire'; pkg = types.ModuleType('partita.wire'); pkg.__path__ = [str(root)];"
        "sys.modules['partita.wire'] = pkg; import partita.wire.codec_sizes as s;"
        "assert s.encoded_bytes('int8', 'float32', (4, 4)) == 24; assert 'numpy' not in sys.modules"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
