"""The platforms that come with Partita."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.plan import load_platforms, pick, platforms
from partita.plan.figures import KINDS
from partita.plan.platforms_page import figure

MIB = 1 << 20


@pytest.mark.parametrize("name", platforms())
def test_every_figure_names_its_source_and_its_month(name):
    """A figure without a source would be a guess."""
    for key, note in platforms()[name].notes.items():
        assert note.source, key
        assert note.date.startswith("2026-"), key


@pytest.mark.parametrize("name", platforms())
def test_every_figure_that_is_set_has_a_note(name):
    """Nothing enters a plan without a source: what has no note is what an empty platform has."""
    one, empty = platforms()[name], load_platforms('[x]\ntitle = "x"')["x"]
    for key in KINDS:
        if figure(one, key) != figure(empty, key):
            assert key in one.notes, key


@pytest.mark.parametrize("name", [name for name, one in platforms().items() if one.limits.memory])
def test_every_platform_sells_room_for_the_runtime(name):
    """The least that can be ordered for an empty slice is within the limit, and has processors."""
    one = platforms()[name]
    size = one.function_memory(one.limits.runtime_memory)
    assert size is not None
    assert one.limits.runtime_memory <= size <= one.limits.memory
    assert one.processors(size) > 0


@pytest.mark.parametrize("name", [name for name, one in platforms().items() if one.limits.package])
def test_the_runtime_leaves_room_in_every_package(name):
    """A package that the runtime alone fills would hold no weight."""
    limits = platforms()[name].limits
    assert limits.runtime_package < limits.package


def test_the_table_is_read_once():
    """Asking again costs nothing."""
    assert platforms() is platforms()


def test_lambda_is_as_its_guide_says():
    """250 MB unpacked, 6 MB a payload, 15 minutes, 1 MB steps, one processor at 1,769 MB."""
    one = pick("aws-lambda")
    assert (one.limits.package, one.limits.payload_in, one.limits.seconds) == (250 * MIB, 6 * MIB, 900)
    assert one.function_memory(129 * MIB - 5) == 129 * MIB
    assert one.processors(1769 * MIB) == 1.0
    assert one.payload_growth == pytest.approx(4 / 3)
    assert one.event is None


def test_step_functions_bounds_what_a_step_hands_on():
    """262,144 bytes between tasks, which are functions of Lambda."""
    one = pick("step-functions")
    assert one.event == one.limits.payload_in == 262_144
    assert one.limits.package == pick("aws-lambda").limits.package
    assert one.prices.gb_second == pick("aws-lambda").prices.gb_second
    assert one.prices.transition > 0


def test_flex_consumption_sells_three_sizes():
    """512, 2,048 and 4,096 MB, and nothing between them."""
    one = pick("azure-functions")
    sizes = [one.function_memory(need * MIB) for need in (100, 513, 2049, 4097)]
    assert sizes == [512 * MIB, 2048 * MIB, 4096 * MIB, None]
    assert [one.processors(size) for size in sizes[:3]] == [0.25, 1.0, 2.0]


def test_cloud_run_asks_for_processors_with_memory():
    """More than 16 GiB needs six."""
    assert pick("cloud-run").processors(17 << 30) == 6


def test_a_board_is_ordered_whole():
    """Whatever a part needs of it, it has the memory it has."""
    assert pick("edge-512mb").function_memory(1) == 512_000_000


def test_a_user_s_platform_comes_before_a_known_one():
    """The quotas of an account win over those of the documentation."""
    own = load_platforms('[aws-lambda]\ntitle = "ours"\nmemory = "3008 MiB"')
    assert pick("aws-lambda", own).title == "ours"
    assert pick("cloud-run", own).title == "Google Cloud Run"


def test_an_unknown_name_suggests_the_nearest():
    """A slip of the finger is answered with the name that was meant, and with all of them."""
    own = load_platforms('[fog]\ntitle = "fog"')
    with pytest.raises(BadDocument, match="did you mean 'aws-lambda'") as caught:
        pick("aws-lamda", own)
    assert "fog" in caught.value.fix
    assert "cloud-run" in caught.value.fix
