"""Platforms as tables."""

from __future__ import annotations

from pathlib import Path

from partita.plan import load_platforms, platforms, print_platforms

DOCS = Path(__file__).parents[3] / "docs" / "platforms.md"


def test_the_documentation_shows_the_table_as_it_is():
    """Every figure with its source, as the packaged table has it."""
    assert DOCS.read_text().endswith(print_platforms(platforms().values()))


def test_a_figure_is_printed_as_it_is_written():
    """Each kind of figure in the words of the TOML file, with what is assumed marked."""
    text = """
[x]
title = "a place"
source = "a page"
date = "2026-11"
memory = "10240 MiB"
package = 1001
payload_growth = "3/2"
memory_choices = ["512 MiB", "1 GB"]
cpu_steps = { "4 GiB" = 1, "8 GiB" = 2 }
memory_per_cpu = 0
invoke = { value = "10 ms", source = "nobody says", assumed = true }
store_rate = "90 MB/s"
prices = { request = 0.0000002 }
"""
    page = print_platforms(load_platforms(text).values())
    for row in (
        "| `x` | 10 GiB | 1001 B | - | - | - | - |",
        "A place.",
        "| `memory` | 10 GiB | a page | 2026-11 |",
        "| `payload_growth` | 1.5 | a page | 2026-11 |",
        "| `memory_choices` | 512 MiB, 1 GB | a page | 2026-11 |",
        "| `cpu_steps` | 1 to 4 GiB, 2 to 8 GiB | a page | 2026-11 |",
        "| `memory_per_cpu` | 0 B | a page | 2026-11 |",
        "| `invoke` | 10ms | assumed: nobody says | 2026-11 |",
        "| `store_rate` | 90 MB/s | a page | 2026-11 |",
        "| `prices.request` | $0.0000002 | a page | 2026-11 |",
    ):
        assert row in page.splitlines()


def test_a_platform_without_figures_has_its_title_only():
    """No empty table."""
    page = print_platforms(load_platforms('[x]\ntitle = "nothing"').values())
    assert page.endswith("### x\n\nNothing.\n")
