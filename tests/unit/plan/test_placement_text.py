"""A Plan on one line parses back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.plan import Hop, PlacedPart, Plan, parse_plan, print_plan

GOLDEN = Path(__file__).parents[2] / "golden" / "plan"
CODEC = st.sampled_from(["raw", "int8", "topk:0.1", "topk:0.1/fp32+lossless", "int4/channel:-1"])
PLACE = st.one_of(
    st.sampled_from(["edge", "cloud", "fn-1", "a b", 'q"|x', "ä"]), st.text(min_size=1, max_size=5)
)


@st.composite
def plans(draw):
    cuts = sorted(draw(st.sets(st.integers(1, 30), max_size=4)))
    ends = [0, *cuts, (cuts[-1] if cuts else 0) + draw(st.integers(1, 5))]
    if draw(st.booleans()):
        ends = [0, *ends, ends[-1]]
    parts, last = [], None
    for a, b in pairwise(ends):
        last = draw(PLACE.filter(lambda place, last=last: place != last))
        parts.append(PlacedPart(last, a, b))
    return Plan(
        draw(st.text(max_size=8)),
        draw(st.sampled_from(["", "sha256:abc"])),
        tuple(parts),
        tuple(Hop(draw(CODEC), draw(CODEC)) for _ in parts[1:]),
        draw(st.integers(0, 9)),
        draw(st.integers(1, 64)),
        draw(st.sampled_from(["infer", "train"])),
        draw(st.sampled_from(["latency", "bytes"])),
    )


@given(plans())
def test_the_full_text_parses_back(plan):
    """Every plan equals what its full text says, however odd its names."""
    assert parse_plan(print_plan(plan, full=True)) == plan


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_printed_plans_stay_as_they_are(path):
    """The text form is a contract: each line parses and prints again as it was."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        assert print_plan(parse_plan(line), full="objective=" in line) == line


def test_a_short_form_takes_its_model_from_the_caller():
    """What a short text leaves out is given by name."""
    plan = parse_plan("edge[0:3]", model="resnet18", digest="sha256:1")
    assert (plan.model, plan.digest, plan.window, plan.mode) == ("resnet18", "sha256:1", 0, "infer")
    assert str(plan) == "edge[0:3] | K=0 batch=1 mode=infer"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a place, found 'the end'"),
        ("edge[0:3] cloud[3:5]", "expected an arrow"),
        ("edge[0:3] -int8->", "expected a place"),
        ("edge[0:3] | K=two", "'two' is not a whole number"),
        ("edge[0:3] | mode=fly speed=3", "'fly' is not one of infer, train; 'speed' is not one of"),
        ("edge[0:3] | K=1 ]", "cannot read"),
        ('"\\q"[0:3]', "cannot read the quoted name"),
        ("edge[0:3" + "0" * 100_000, "characters are more than"),
        ("edge[1:3]", "parts[0].start"),
    ],
)
def test_a_bad_text_says_where(text, said):
    """Each fault is named with the text at which it stands."""
    with pytest.raises(BadDocument) as caught:
        parse_plan(text)
    assert said in str(caught.value)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_and_nothing_worse(text):
    """Arbitrary text is a plan that prints again, or is refused with our own error."""
    try:
        plan = parse_plan(text)
    except BadDocument as error:
        assert error.problems
    else:
        assert parse_plan(str(plan)) == plan
