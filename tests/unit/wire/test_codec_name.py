"""Names of codecs: parse, print, and parse again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.wire.codec_name import KNOWN_CODECS, CodecName, parse_name

affine = st.builds(
    CodecName,
    kind=st.just("affine"),
    bits=st.sampled_from([2, 4, 8]),
    axis=st.none() | st.integers(-32, 31),
    seed=st.none() | st.integers(0, 2**53),
    lossless=st.booleans(),
)
topk = st.builds(
    CodecName,
    kind=st.just("topk"),
    fraction=st.floats(1e-9, 1).map(lambda f: float(f"{f:.12g}")),
    wide=st.booleans(),
    lossless=st.booleans(),
)
plain = st.builds(CodecName, kind=st.sampled_from(["raw", "fp16", "bf16"]), lossless=st.booleans())


@given(plain | affine | topk)
def test_a_name_prints_and_parses_back(name: CodecName) -> None:
    """Text and name say the same."""
    assert name == parse_name(str(name))


@pytest.mark.parametrize(
    "text", [*KNOWN_CODECS, "int8/channel", "int4/channel:-1", "int2/stochastic:7+lossless"]
)
def test_canonical_texts_stay_as_they_are(text: str) -> None:
    """What the documents write is what prints."""
    assert text == str(parse_name(text))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("raw+lossless", "lossless"),
        ("int8/channel:1", "int8/channel"),
        ("int8/stochastic:0", "int8/stochastic"),
        ("topk:0.10/fp16", "topk:0.1"),
        ("topk:1", "topk:1"),
    ],
)
def test_other_spellings_have_one_canonical_text(text: str, canonical: str) -> None:
    """Two plans with the same codec compare equal."""
    assert canonical == str(parse_name(text))


@pytest.mark.parametrize(
    "text",
    ["", "int3", "int16", "topk", "topk:", "topk:0", "topk:1.5", "topk:nan", "int8/rows", "lossless+lossless", "INT8",
     "int8 ", "topk:0.1/bf16", "int8/channel:", "x" * 500],
)  # fmt: skip
def test_a_name_that_says_nothing_is_refused_with_those_that_do(text: str) -> None:
    """The way out lists the known codecs."""
    with pytest.raises(BadDocument) as caught:
        parse_name(text)

    assert "int8" in caught.value.fix
    assert len(str(caught.value)) < 500


@given(affine | topk | plain)
def test_the_lossless_stage_goes_on_and_off(name: CodecName) -> None:
    """Nothing else of the name changes."""
    assert name.plain() == name.packed().plain()
    assert name.packed().lossless
    assert not name.plain().lossless
