"""Platforms as people write them."""

from __future__ import annotations

import pytest

from partita.errors import BadDocument
from partita.plan import Note, load_platforms, platforms

MIB = 1 << 20


def problems(text: str, **more) -> tuple[str, ...]:
    """What is wrong with a document."""
    with pytest.raises(BadDocument) as caught:
        load_platforms(text, **more)
    return caught.value.problems


def one(body: str):
    """The platform of one table with a title."""
    return load_platforms(f'[x]\ntitle = "t"\n{body}')["x"]


def test_figures_are_read_with_their_units():
    """Sizes, times, rates, fractions and money, each where it belongs."""
    found = one(
        'memory = "250 MiB"\nseconds = "15 min"\npayload_growth = "4/3"\nstore = "20 ms"\nstore_rate = "90 MB/s"\n'
        'package_rate = "100mbit"\nevent = 262144\njoules = 3\ncpus = 2\nprices = { request = 2e-7 }'
    )
    assert (found.limits.memory, found.limits.seconds, found.limits.joules) == (250 * MIB, 900.0, 3.0)
    assert (found.store, found.store_rate, found.package_rate) == (0.02, 720e6, 100e6)
    assert found.payload_growth == pytest.approx(4 / 3)
    assert (found.event, found.cpus, found.prices.request) == (262144, 2.0, 2e-7)


def test_a_figure_carries_its_own_source_or_that_of_its_table():
    """Three ways to say where a figure is from."""
    body = 'source = "page"\ndate = "2026-11"\nmemory = "1 GB"\n'
    body += (
        'tmp = { value = "1 GB", source = "blog", date = "2025-01", assumed = true }\nevent = { value = 9 }'
    )
    notes = one(body).notes
    assert notes["memory"] == notes["event"] == Note("page", "2026-11")
    assert notes["tmp"] == Note("blog", "2025-01", assumed=True)


def test_a_figure_without_any_source_is_the_document_s():
    """A user's figure is the user's."""
    text = '[x]\ntitle = "t"\nmemory = "1 GB"'
    found = load_platforms(text, name="ours.toml")["x"]
    assert found.notes["memory"].source == "given in ours.toml"
    assert found.limits.source == "given in ours.toml"
    assert load_platforms(text)["x"].notes["memory"].source == "given by the user"


def test_like_takes_the_rest_from_another():
    """What is not said is the other's, with its note."""
    text = '[x]\ntitle = "t"\nlike = "aws-lambda"\ntmp = "1 GB"\nprices = { request = 1.5 }'
    found, parent = load_platforms(text, known=platforms())["x"], platforms()["aws-lambda"]
    assert found.limits.package == parent.limits.package
    assert found.notes["package"] == parent.notes["package"]
    assert (found.limits.tmp, found.prices.request) == (10**9, 1.5)
    assert found.prices.gb_second == parent.prices.gb_second
    assert found.limits.source == parent.limits.source
    assert (found.name, found.title) == ("x", "t")


def test_like_may_name_a_table_further_down():
    """The order of the tables does not matter."""
    found = load_platforms('[a]\ntitle = "a"\nlike = "b"\n[b]\ntitle = "b"\nmemory = 5')
    assert found["a"].limits.memory == 5


def test_a_table_of_the_document_comes_before_a_known_one():
    """Nothing outside the document changes what it says."""
    text = '[aws-lambda]\ntitle = "ours"\nmemory = 7\n[x]\ntitle = "x"\nlike = "aws-lambda"'
    assert load_platforms(text, known=platforms())["x"].limits.memory == 7


def test_none_lifts_what_came_with_like():
    """A bound, a list and a table of another can be taken back, and their notes go with the bounds."""
    text = '[x]\ntitle = "t"\nlike = "aws-lambda"\ntmp = "none"\nseconds = "none"\njoules = "none"'
    found = load_platforms(text, known=platforms())["x"]
    assert (found.limits.tmp, found.limits.seconds, found.limits.joules) == (None, None, None)
    assert "tmp" not in found.notes
    run = load_platforms('[x]\ntitle = "t"\nlike = "cloud-run"\ncpu_steps = {}\ncpus = 3', known=platforms())
    assert run["x"].processors(1) == 3


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('memory = "2 apples"', "x.memory: '2 apples' is not a size like '250 MiB'"),
        ("memory = true", "x.memory: True is not a size like '250 MiB'"),
        ("memory = inf", "x.memory: inf is not a size like '250 MiB'"),
        ("memory = -5", "x.memory: -5 is below zero"),
        ('memory = "-5 MB"', "x.memory: '-5 MB' is below zero"),
        ("memory = 1.5", "x.memory: 1.5 is no whole number of bytes"),
        ("memory = 0", "x.memory: 0 is not above zero"),
        ('seconds = "5 MB"', "x.seconds: '5 MB' is not a time like '900 s' or '15 min'"),
        ("joules = 'much'", "x.joules: 'much' is not a number of joules"),
        ('store_rate = "90 MB"', "x.store_rate: '90 MB' is not a rate like '90 MB/s' or '100 mbit'"),
        ("store_rate = 90", "x.store_rate: 90 is not a rate like '90 MB/s' or '100 mbit'"),
        ('payload_growth = "4/0"', "x.payload_growth: '4/0' is not a number or a fraction like '4/3'"),
        ("payload_growth = 0.5", "x.payload_growth: 0.5 is below 1"),
        ("prices = { get = '1$' }", "x.prices.get: '1$' is not a number of dollars like 0.0000002"),
        ("prices = 3", "x.prices: is 3, not a table [x.prices]"),
        ("prices = { gett = 1 }", "x.prices.gett: is not a field, did you mean 'prices.get'?"),
        ("cpus = 'two'", "x.cpus: 'two' is not a number"),
        ("memory_choices = 5", "x.memory_choices: 5 is not a list of sizes like ['512 MiB', '2 GiB']"),
        ("memory_choices = [0]", "x.memory_choices: 0 is not above zero"),
        ("cpu_steps = 5", "x.cpu_steps: 5 is not a table like { '4 GiB' = 1, '8 GiB' = 2 }"),
        ("pakage = 5", "x.pakage: is not a field, did you mean 'package'?"),
        ("zzz = 5", "x.zzz: is not a field"),
        ("source = 5", "x.source: is 5, not a text"),
        ("like = ''", "x.like: is '', not a text"),
        ("tmp = { value = 5, assumed = 1 }", "x.tmp: source and date are texts, assumed is true or false"),
        (
            "tmp = { value = 5, sorce = 'a' }",
            "x.tmp: 'sorce' is not one of value, source, date, assumed, did you",
        ),
        ("memory = 5\nmemory_least = 6", "x.memory_least: 6 is above memory, 5"),
    ],
)
def test_a_wrong_figure_is_named_with_its_value(body, problem):
    """Which field of which table, what it says, and what would do."""
    assert problems(f'[x]\ntitle = "t"\n{body}')[0].startswith(problem)


def test_all_wrong_fields_of_all_tables_come_together():
    """One round of corrections is enough."""
    text = 'loose = 3\n[a]\nmemory = "x"\ntmp = -1\n[b]\ntitle = 4\nfoo = 1\n["C D"]\ntitle = "t"'
    found = problems(text, name="ours.toml")
    assert [problem.split(":")[0] for problem in found] == [
        "loose",
        "a.title",
        "a.memory",
        "a.tmp",
        "b.title",
        "b.foo",
        "'C D'",
    ]


def test_a_circle_of_like_is_refused():
    """Two platforms cannot start from each other."""
    found = problems('[a]\ntitle = "a"\nlike = "b"\n[b]\ntitle = "b"\nlike = "a"')
    assert any("starts from 'b' in turn" in problem for problem in found)
    assert len(found) == 2


def test_like_of_nothing_suggests_the_nearest():
    """A name that is not known is a slip, more often than not."""
    (found,) = problems('[a]\ntitle = "a"\nlike = "aws-lamda"', known=platforms())
    assert found == "a.like: 'aws-lamda' is not a known platform, did you mean 'aws-lambda'?"


def test_a_bad_parent_is_named_once():
    """Its own problem, and who waits for it."""
    found = problems('[b]\ntitle = "b"\nmemory = "x"\n[a]\ntitle = "a"\nlike = "b"')
    assert found == ("b.memory: 'x' is not a size like '250 MiB'", "a.like: 'b' has problems of its own")


@pytest.mark.parametrize("text", ["[x", "x = ", "a = " + "[" * 100_000])
def test_what_is_not_toml_is_refused_with_its_name(text):
    """A broken file, whatever is broken, is the file's fault and named."""
    with pytest.raises(BadDocument, match=r"ours\.toml.*is not TOML"):
        load_platforms(text, name="ours.toml")


def test_an_empty_document_has_no_platforms():
    """Nothing in, nothing out."""
    assert load_platforms("") == {}
