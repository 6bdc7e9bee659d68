"""Codecs as the planner sees them."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.plan import CodecOption, codec_options


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("raw", 4000),
        ("fp16", 2000),
        ("bf16", 2000),
        ("int8", 1008),
        ("int4/channel:1", 508),
        ("topk:0.05", 200),
        ("topk:0.2/fp32", 925),
        ("topk:1", 2125),
        ("lossless", 2240),
        ("int8+lossless", 568),
    ],
)
def test_sizes_of_a_thousand_floats(name, size):
    """A codec's bytes follow from elements, raw bytes and the number of tensors."""
    assert codec_options([name])[name].encoded(1000, 4000) == pytest.approx(size)


def test_keeping_more_values_loses_less():
    """The error of top-k falls with its share, to none at all."""
    errors = [codec_options([f"topk:{share}"])[f"topk:{share}"].error for share in (0.01, 0.1, 0.5, 1)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0


def test_the_callers_own_figures_come_first():
    """A measured option replaces the built-in one."""
    mine = CodecOption(factor=0.3)
    assert codec_options(["lossless", "zip"], {"lossless": mine, "zip": mine}) == {
        "lossless": mine,
        "zip": mine,
    }


def test_unknown_codecs_are_named_together():
    """All unknown names stand in one error, with those that are known."""
    with pytest.raises(
        BadDocument, match=r"'gzip' is not known; 'topk:2' is not known; 'topk:x' is not known"
    ):
        codec_options(["gzip", "topk:2", "topk:x"])
    with pytest.raises(BadDocument, match="there are none"):
        codec_options([])


def test_figures_below_zero_are_refused():
    """Every field that is not zero or more is listed."""
    with pytest.raises(BadDocument) as caught:
        CodecOption(per_element=-1, factor=float("nan"), per_tensor=-2, error=-3)
    assert len(caught.value.problems) == 4
