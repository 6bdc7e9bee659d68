"""Profiles in the original's form."""

from __future__ import annotations

import json

import pytest

from partita.errors import BadDocument
from partita.graph import dump
from partita.serve.policy_profile import profile_from_original, profile_notes

ORIGINAL = json.dumps(
    [
        {"accuracy": 0.4354, "flops": 0.812877056, "energy": 45.99},
        {"accuracy": 0.6803, "flops": 1.856489216, "energy": 99.31},
        {"accuracy": 0.7675, "flops": 3.3319175679999997, "energy": 176.75},
        {"accuracy": 0.7657, "flops": 4.144599296, "energy": 243.55},
    ]
)
MS = {"1": {"p50": 2, "p99": 3}, "4": {"p50": 4, "p99": 6}}


def refused(value: object) -> tuple[str, ...]:
    with pytest.raises(BadDocument) as caught:
        profile_from_original(value if isinstance(value, str) else json.dumps(value), name="p.json")
    return caught.value.problems


def test_the_list_of_the_original_loads_unchanged() -> None:
    profile = profile_from_original(ORIGINAL)

    assert [cost.accuracy for cost in profile.exits] == [0.4354, 0.6803, 0.7675, 0.7657]
    assert profile.exits[0].flops == pytest.approx(0.812877056e9)
    assert profile.exits[3].joules == pytest.approx(0.24355)
    assert "no unit was stated" in profile.energy_source
    assert not profile.timed


def test_a_dominated_exit_is_told_with_its_figures() -> None:
    notes = profile_notes(profile_from_original(ORIGINAL))

    assert notes[0].startswith(
        "exit 3 is no more accurate than exit 2 (0.7657 against 0.7675) and costs 38% more energy"
    )
    assert notes[1].startswith("no stage times were measured")


@pytest.mark.parametrize(
    ("row", "told"), [({"flops": 2}, "costs 100% more computation"), ({}, "costs more: it is")]
)
def test_what_a_dominated_exit_costs_is_told_as_far_as_it_is_known(row: dict[str, float], told: str) -> None:
    first = {"accuracy": 0.5, "flops": 1}
    profile = profile_from_original(json.dumps([first, {"accuracy": 0.5, **row}]))

    assert told in profile_notes(profile)[0]


def test_missing_accuracies_are_told() -> None:
    assert "no accuracies are known" in profile_notes(profile_from_original("[{}]"))[-1]


def test_the_form_with_times_is_read_in_milliseconds() -> None:
    value = {
        "version": 1,
        "model": "m",
        "device": "a box",
        "model_hash": "sha256:1",
        "samples": 200,
        "exits": [
            {"name": "early", "accuracy": 0.5, "accuracy_ci": [0.4, 0.6], "stage_ms": MS},
            {"accuracy": 0.7, "stage_ms": MS},
        ],
        "spans": {"0-1": MS},
    }
    profile = profile_from_original(json.dumps(value))

    assert (profile.model, profile.device, profile.digest, profile.samples) == ("m", "a box", "sha256:1", 200)
    assert profile.stages[1].seconds(4, tail=True) == 0.006
    assert profile.span(0, 1).seconds(1) == 0.002
    assert (profile.exits[0].name, profile.exits[0].accuracy_low, profile.exits[0].accuracy_high) == (
        "early",
        0.4,
        0.6,
    )
    assert profile.exits[1].name == "exit1"
    assert profile.energy_source == ""
    assert profile_notes(profile) == ()


def test_a_profile_that_partita_wrote_is_read_too() -> None:
    profile = profile_from_original(ORIGINAL, name="resnet50")

    assert profile_from_original(dump(profile)) == profile


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("[", ["$: is not JSON"]),
        (3, ["$: expected an object, got 3"]),
        ([], ["exits: expected a list with one object per exit"]),
        ([3], ["exits[0]: expected an object, got 3"]),
        ([{"acuracy": 0.5}], ["exits[0].acuracy: is not a field here, did you mean 'accuracy'?"]),
        (
            [{"accuracy": 43.5, "flops": -1}],
            ["exits[0].flops: -1", "exits[0].accuracy: 43.5 is not from 0 to 1; did you mean"],
        ),
        ([{"accuracy_ci": 0.5}], ["exits[0].accuracy_ci: expected a list of two shares"]),
        ([{"accuracy_ci": [0.5, 2]}], ["exits[0].accuracy_ci.high: 2 is not from 0 to 1"]),
        ([{"name": 4}], ["exits[0].name: expected a text"]),
        ({"exits": [{}], "device": 4}, ["device: expected a text"]),
        ([{"stage_ms": MS}, {}], ["exits: stage_ms is given for 1 of 2 exits"]),
        ([{"stage_ms": {}}], ["exits[0].stage_ms: no batch size was measured"]),
        ([{"stage_ms": {"0": {}}}], ["exits[0].stage_ms.0: expected a batch size"]),
        ([{"stage_ms": {"1": {"p50": 1}}}], ["exits[0].stage_ms.1.p99: expected milliseconds"]),
        ({"exits": [{}], "spans": {"1-0": MS}}, ["spans.1-0: expected first-last"]),
        ({"exits": [{}, {}], "spans": {"0-1": {"1": 3}}}, ["spans.0-1.1: expected an object"]),
    ],
)
def test_every_wrong_field_is_named(value: object, told: list[str]) -> None:
    problems = refused(value)

    assert all(any(problem.startswith(start) for problem in problems) for start in told), problems
