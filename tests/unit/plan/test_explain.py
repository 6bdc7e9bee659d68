"""A ranking in words and as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from partita.graph import Link
from partita.plan import COLUMNS, Question, explain, print_table, rows, search, turns


@pytest.fixture
def case(line, profiled):
    chain = line([500, 400, 40, 60, 60, 30, 5])
    profiles = {"edge": profiled(chain, [0.02] * 6, joules=3.0), "cloud": profiled(chain, [0.0025] * 6)}
    return chain, profiles


def ranked(case, rate=1e5, **keywords):
    return search(
        *case, Link(rate, rate, 0.01), Question(**{"codecs": ("raw",), "objective": "latency", **keywords})
    )


def test_the_explanation_names_winner_bottleneck_and_rivals(case):
    """Who wins by what, what holds it back, how the others compare, what would change it."""
    text = ranked(case).explanation
    assert text.startswith("edge[0:2] -raw-> cloud[2:6] -raw-> edge | K=0")
    for said in (
        "edge compute is the bottleneck",
        "times as much",
        "Steps follow one another",
        "With an uplink of",
    ):
        assert said in text


def test_the_turning_point_is_where_the_decision_turns(case):
    """Searching a little beyond a stated bandwidth finds the stated plan, a little before it the old one."""
    ranking = ranked(case)
    found = turns(ranking)
    assert {turn.factor > 1 for turn in found} == {True, False}
    for turn in found:
        beyond = ranked(case, 1e5 * turn.factor**1.001).best.parts
        before = ranked(case, 1e5 * turn.factor**0.9).best.parts
        assert (beyond, before) == (turn.plan.parts, ranking.best.parts)


@pytest.mark.parametrize("objective", ["throughput", "memory", "energy", "bytes", "parts"])
def test_every_objective_has_its_words(case, objective):
    """Each objective explains itself with its own unit, ties and scores of nothing included."""
    text = explain(ranked(case, objective=objective))
    assert " wins: the " in text


def test_notes_and_windows_are_told(case):
    """A window says what it hides and how that is known; what was left out is said."""
    text = explain(ranked(case, objective="throughput", codecs=("raw", "fp16"), mode="train"), what_if=False)
    assert "Codec fp16 was left out" in text
    assert "steps under way" in text


def test_the_table_has_a_row_for_every_plan(case):
    """Rows are texts under the columns; the printed table has a head and as many lines."""
    ranking = ranked(case)
    table = rows(ranking)
    assert all(tuple(row) == COLUMNS for row in table)
    lines = print_table(ranking).splitlines()
    assert len(lines) == len(table) + 1
    assert lines[0].split()[:3] == ["rank", "plan", "K"]


def test_a_free_model_has_no_shares(line, profiled):
    """Where nothing takes time, nothing divides by it."""
    chain = line([1, 1])
    nothing = profiled(chain, [0.0])
    ranking = search(chain, {"edge": nothing, "cloud": nothing}, Link(1e6, 1e6), Question(codecs=("raw",)))
    assert "busy 0%" in explain(ranking)
    assert replace(ranking.alternatives[0], score=0.0).score == 0
