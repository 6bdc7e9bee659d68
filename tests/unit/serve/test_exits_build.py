"""Networks with exits by name."""

from __future__ import annotations

import pytest
import torch

from partita.errors import BadDocument, BadReference
from partita.serve.exits_build import MODELS, build_exits
from partita.serve.exits_efficientnet import MBConv
from partita.serve.exits_flops import flops
from partita.zoo.guard import torchvision_works

SMALL = {
    "resnet18": ((3, 32, 32), {"width": 4}, 4),
    "resnet34": ((3, 32, 32), {"width": 4}, 4),
    "resnet50": ((1, 32, 32), {"width": 4}, 4),
    "efficientnet_b0": ((3, 32, 32), {}, 3),
    "efficientnet_b1": ((1, 40, 32), {}, 3),
    "efficientnet_b2": ((3, 72, 72), {}, 3),
    "early-cnn": ((3, 32, 32), {"width": 4}, 4),
    "wav2vec2": ((1, 2000), {"width": 48, "conv_dim": 16}, 3),
    "bert": ((9,), {"width": 48, "vocabulary": 50}, 3),
}


def test_every_network_is_tried_here() -> None:
    assert SMALL.keys() == MODELS.keys()


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_every_exit_gives_one_row_of_logits_a_sample(name: str) -> None:
    shape, arguments, exits = SMALL[name]
    model = build_exits(name, 7, shape=shape, arguments=arguments).eval()
    inputs = model.example(3)

    assert inputs[0].shape == (3, *shape)
    assert [row.shape for row in model(*inputs)] == [(3, 7)] * exits


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_the_plain_network_answers_as_the_last_exit(name: str) -> None:
    shape, arguments, _ = SMALL[name]
    model = build_exits(name, 7, shape=shape, arguments=arguments).eval()
    inputs = model.example(2)

    assert torch.equal(model.restore_regular_model()(*inputs), model(*inputs)[-1])


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_learns_from_the_exits_together(name: str) -> None:
    shape, arguments, _ = SMALL[name]
    model = build_exits(name, 7, shape=shape, arguments=arguments).eval()
    sum(row.square().mean() for row in model(*model.example(2))).backward()

    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("name", "cost"), [("resnet18", 1.82e9), ("efficientnet_b0", 0.386e9)])
def test_costs_are_those_that_are_known_of_the_network(name: str, cost: float) -> None:
    """Published multiplications with addition at 224 by 224, twice as many FLOPs."""
    assert flops(build_exits(name, 1000)).cumulative[-1] == pytest.approx(2 * cost, rel=0.02)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "efficientnet_b0"])
@torch.no_grad()
def test_the_plain_network_is_that_of_torchvision(name: str) -> None:
    if not torchvision_works():
        pytest.skip("torchvision is not installed")
    from torchvision import models

    theirs = models.get_model(name, weights=None).eval()
    model = build_exits(name, 1000, shape=(3, 72, 72)).eval()
    plain = model.regular()
    assert plain is not None
    plain.load_state_dict(theirs.state_dict())
    image = model.example(1)
    wanted = theirs(*image)

    # Of the size of the answers, which are tiny before a network has learned anything.
    assert (model(*image)[-1] - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_the_same_seed_gives_the_same_weights() -> None:
    one, same, other = (build_exits("early-cnn", 3, arguments={"width": 4}, seed=s) for s in (1, 1, 2))

    assert torch.equal(one.heads[0].fc.weight, same.heads[0].fc.weight)
    assert not torch.equal(one.heads[0].fc.weight, other.heads[0].fc.weight)


def test_the_early_network_asks_for_a_third_of_its_cost_by_the_second_exit() -> None:
    shares = flops(build_exits("early-cnn", 10)).shares

    assert shares[0] < 0.12
    assert 0.25 < shares[1] <= 0.35


def test_the_last_exits_stay_when_fewer_are_asked_for() -> None:
    model = build_exits("bert", 2, exits=2, arguments={"width": 24, "vocabulary": 9})

    assert model.names == ("layer3", "final")


def test_exits_of_a_bert_stand_where_they_are_asked_for() -> None:
    model = build_exits("bert", 2, arguments={"width": 24, "vocabulary": 9, "layers": 4, "after": (2,)})

    assert model.names == ("layer2", "final")


@torch.no_grad()
def test_a_text_without_a_mask_is_masked_where_it_is_zero() -> None:
    model = build_exits("bert", 2, arguments={"width": 24, "vocabulary": 9}).eval()
    short, padded = torch.tensor([[3, 4, 5]]), torch.tensor([[3, 4, 5, 0, 0]])

    assert torch.allclose(torch.stack(model(short)), torch.stack(model(padded)), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"model": "resnet19"}, "did you mean resnet18"),
        ({"model": "resnet18", "exits": 9}, "layer1, layer2, layer3, layer4"),
        ({"model": "resnet18", "cuts": ("layer1",)}, "has its exits already"),
        ({"model": "resnet18", "arguments": {"depht": 3}}, "no 'depht'"),
        ({"model": "resnet18", "shape": (9,)}, "are no image"),
        ({"model": "bert", "arguments": {"after": (9,)}}, "no layer 9"),
        ({"model": "zoo:resnet-tiny"}, "no exits of its own"),
        ({"model": "zoo:resnet-tiny", "cuts": ("layer1",), "arguments": {"a": 1}}, "beside a reference"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments: dict[str, object], told: str) -> None:
    with pytest.raises((BadReference, BadDocument), match=told):
        build_exits(classes=10, **arguments)  # type: ignore[arg-type]


def test_a_reference_with_cuts_is_as_good_as_a_name() -> None:
    model = build_exits("zoo:resnet-tiny", 10, shape=(3, 24, 24), cuts=("layer1",))

    assert model.names == ("layer1", "final")
    assert model.example(2)[0].shape == (2, 3, 24, 24)


@torch.no_grad()
def test_a_block_is_left_out_at_random_in_training_only() -> None:
    block = MBConv(6, 3, 1, 8, 8, 0.5)
    x = torch.randn(32, 8, 4, 4)
    left_out = [bool(torch.equal(a, b)) for a, b in zip(block.train()(x), x, strict=True)]

    assert 0 < sum(left_out) < 32
    assert not any(torch.equal(a, b) for a, b in zip(block.eval()(x), x, strict=True))


def test_a_walk_costs_its_heads_and_a_span_only_the_last() -> None:
    found = flops(build_exits("early-cnn", 3, arguments={"width": 4}))

    assert found.cumulative[0] == found.with_heads[0]
    assert found.with_heads[-1] - found.cumulative[-1] == sum(found.heads[:-1])


@torch.no_grad()
def test_large_pictures_are_made_small_first() -> None:
    small, large = (
        build_exits("early-cnn", 3, shape=(3, side, side), arguments={"width": 4}) for side in (32, 128)
    )

    assert large.eval()(*large.example(2))[0].shape == (2, 3)
    assert flops(large).cumulative[-1] < 1.2 * flops(small).cumulative[-1]
