import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument
from partita.graph import CodecCost, Device, Energy, Profile, StageCost, Timing, parse_profile, print_profile

names = st.text(max_size=9)
numbers = st.floats(0, 1e9, allow_nan=False)
sizes = st.integers(1, 512)
timings = st.dictionaries(sizes, st.builds(Timing, numbers, numbers, sizes), min_size=1, max_size=3)
energies = st.dictionaries(sizes, st.builds(Energy, numbers, names, st.booleans()), max_size=2)
costs = st.builds(
    StageCost,
    names,
    timings,
    st.just({}) | timings,
    sizes,
    st.dictionaries(sizes, sizes, max_size=2),
    energies,
)
rows = st.dictionaries(sizes, st.tuples(numbers, numbers, numbers), max_size=2)
profiles = st.builds(
    Profile,
    names,
    names,
    st.builds(Device, names, names, sizes, names, sizes),
    st.tuples(costs, costs),
    costs,
    st.dictionaries(names, st.builds(CodecCost, numbers, numbers), max_size=2),
    rows,
    rows,
    names,
    names,
)


@given(profiles)
def test_a_profile_parses_back(profile: Profile) -> None:
    """Every number and name of a printed profile is read as it was."""
    assert parse_profile(print_profile(profile)) == profile


HEAD = 'profile m digest="d" source="measured" taken=""\n'


@pytest.mark.parametrize(
    "line",
    [
        "stage a params=1 | forward 1=0.1",
        "stage a params=1 | forward 1=fast~0x1",
        "stage a params=1 | colour 1=2",
        "stage a params=many | forward 1=0.1~0.0x1",
        "device d processor=p threads=four",
        "codec int8 quick 1",
        "before 1 soon",
        "nonsense 1",
    ],
)
def test_a_broken_line_is_refused(line: str) -> None:
    """A line that cannot be read is named, never a traceback."""
    with pytest.raises(BadDocument, match="profile"):
        parse_profile(HEAD + line)
