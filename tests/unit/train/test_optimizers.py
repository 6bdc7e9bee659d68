"""Optimizers as data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from partita.errors import BadDocument
from partita.train.optimizers import OPTIMIZERS, make_optimizer, optimizing_of, parse_optimizing
from partita.train.settings import Optimizing


def test_text_becomes_name_rate_numbers_and_clip() -> None:
    """In one line."""
    found = parse_optimizing("sgd:0.05, momentum=0.9, nesterov=1, clip=2")

    assert found == Optimizing("sgd", 0.05, {"momentum": 0.9, "nesterov": 1.0}, 2.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_a_rate_torchs_own_is_taken(name: str) -> None:
    """For every optimizer of the table."""
    module = nn.Linear(1, 1)

    assert parse_optimizing(name).rate == OPTIMIZERS[name](module.parameters()).defaults["lr"]


@pytest.mark.parametrize("text", ["sgd:0.1,momentum=0.9", "adamw:0.001,beta1=0.8,amsgrad=1,clip=1", "radam"])
def test_printing_parses_back(text: str) -> None:
    """What a report shows can be typed again."""
    assert parse_optimizing(str(parse_optimizing(text))) == parse_optimizing(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lion:0.1", "'lion' is not one of adagrad, adam"),
        ("sgd:fast,momentum", "'momentum' is not like momentum=0.9.*rate: 'fast' is not a number"),
        ("sgd:0.1,betas=3,speed=x", "speed: 'x' is not a number.*sgd takes no betas"),
        ("sgd:0.1,momentum=0.9,momentum=0.8", "momentum is there twice"),
        ("adam,amsgrad=0.5", "amsgrad: 0.5 is not 1 or 0"),
        ("sgd:0.1,momentum=-1", "Invalid momentum"),
        ("sgd:0.1,nesterov=1", "(?i)nesterov momentum requires a momentum"),
        ("adam,beta1=1.5", "Invalid beta"),
        ("sgd:-1", "rate: -1.0 is not zero or more"),
        ("adam,fused=1", "adam takes no fused"),
    ],
)
def test_what_is_wrong_is_said_all_at_once(text: str, said: str) -> None:
    """Names, numbers and what torch itself refuses."""
    with pytest.raises(BadDocument, match=said):
        parse_optimizing(text)


def test_the_made_optimizer_has_the_numbers() -> None:
    """Betas as a pair, truths as truths."""
    spec = parse_optimizing("adam:0.5,beta2=0.9,amsgrad=1")
    group = make_optimizer(spec, nn.Linear(1, 1).named_parameters()).param_groups[0]

    assert (group["lr"], group["betas"], group["amsgrad"]) == (0.5, (0.9, 0.9), True)


@pytest.mark.parametrize(
    ("kind", "numbers", "expected"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, "sgd:0.1,momentum=0.9,nesterov=1"),
        (torch.optim.AdamW, {"lr": 0.1, "betas": (0.8, 0.9)}, "adamw:0.1,beta1=0.8,beta2=0.9"),
        (
            torch.optim.RMSprop,
            {"lr": 0.1, "alpha": 0.5, "centered": True},
            "rmsprop:0.1,alpha=0.5,centered=1",
        ),
        (torch.optim.NAdam, {}, "nadam:0.002"),
    ],
)
def test_one_of_torchs_own_is_read(kind: Any, numbers: dict[str, Any], expected: str) -> None:
    """Only what differs from torch's own numbers is written down."""
    found = optimizing_of(kind(nn.Linear(1, 1).parameters(), **numbers))

    assert found == parse_optimizing(expected)


def test_groups_with_the_same_numbers_are_one() -> None:
    """Who only grouped for order's sake may go on."""
    a, b = nn.Linear(1, 1), nn.Linear(1, 1)
    both = [{"params": list(a.parameters())}, {"params": list(b.parameters())}]

    assert optimizing_of(torch.optim.SGD(both, lr=0.1)) == Optimizing("sgd", 0.1)


def test_groups_with_different_numbers_are_refused_with_a_way_out() -> None:
    """Each difference is named."""
    a, b = nn.Linear(1, 1), nn.Linear(1, 1)
    both = [{"params": list(a.parameters())}, {"params": list(b.parameters()), "lr": 0.5, "momentum": 0.9}]
    with pytest.raises(BadDocument, match=r"group 1 has lr 0.5 and group 0 has 0.1.*momentum") as caught:
        optimizing_of(torch.optim.SGD(both, lr=0.1))

    assert "one group" in caught.value.fix


def test_an_optimizer_of_another_kind_is_refused() -> None:
    """Both sides make their own from a name, and this one has none."""
    with pytest.raises(BadDocument, match="Rprop is not one of"):
        optimizing_of(torch.optim.Rprop(nn.Linear(1, 1).parameters()))


def test_an_optimizer_for_some_of_the_parameters_is_refused() -> None:
    """Else the others would be trained against the user's will."""
    module = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    some = torch.optim.SGD(module[1].parameters(), lr=0.1)
    with pytest.raises(BadDocument, match=r"does not hold 0\.weight, 0\.bias") as caught:
        optimizing_of(some, module)
    assert "requires_grad_(False)" in caught.value.fix

    module[0].requires_grad_(False)
    assert optimizing_of(some, module) == Optimizing("sgd", 0.1)


def test_an_optimizer_of_another_model_is_refused() -> None:
    """It would train nothing here."""
    with pytest.raises(BadDocument, match="parameters that are not the model's"):
        optimizing_of(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), nn.Identity())
