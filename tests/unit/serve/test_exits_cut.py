"""Exits added to torch modules at named cuts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from partita.errors import BadDocument, IllegalCut
from partita.serve.exits import MultiExit, keep_exits
from partita.serve.exits_cut import with_exits
from partita.serve.exits_flops import flops
from partita.zoo import build


def cut_resnet(**options: object) -> tuple[nn.Module, MultiExit]:
    network = build("zoo:resnet-tiny")
    return network.module, with_exits(network.module, network.args, ["layer1", "layer2.0"], **options)  # type: ignore[arg-type]


@torch.no_grad()
def test_the_last_exit_is_the_module_itself() -> None:
    module, model = cut_resnet()
    inputs = model.example(5)

    assert torch.equal(model.eval()(*inputs)[-1], module.eval()(*inputs))


def test_exits_carry_the_names_of_their_cuts() -> None:
    assert cut_resnet()[1].names == ("layer1", "layer2.0", "final")


def test_training_the_exits_trains_the_module() -> None:
    module, model = cut_resnet()
    model.train()
    model(*model.example(4))[0].sum().backward()

    assert module.get_parameter("layer1.0.conv1.weight").grad is not None
    assert module.get_parameter("layer3.0.conv1.weight").grad is None
    assert module.get_buffer("stem.1.num_batches_tracked") == 1


def test_a_training_step_changes_what_a_plain_one_would() -> None:
    module, model = cut_resnet()
    inputs = model.example(4)
    model.train()(*inputs)[-1].square().sum().backward()
    found = module.get_parameter("stem.0.weight").grad
    assert found is not None
    found, module.get_parameter("stem.0.weight").grad = found.clone(), None
    module.train()(*inputs).square().sum().backward()

    assert torch.allclose(found, module.get_parameter("stem.0.weight").grad, rtol=1e-3, atol=1e-4)


def test_a_frozen_module_stays_as_it_is() -> None:
    module, model = cut_resnet(frozen=True)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    model.train()
    sum(row.sum() for row in model(*model.example(4))[:-1]).backward()

    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        f"heads.{k}.head.fc.{part}" for k in (0, 1) for part in ("weight", "bias")
    ]


@torch.no_grad()
def test_the_regular_model_is_the_module_with_the_present_weights() -> None:
    _, model = cut_resnet()
    nn.init.ones_(model.stages[0].get_parameter("stem__0__weight"))
    plain = model.eval().restore_regular_model()

    assert torch.equal(plain(*model.example(2)), model(*model.example(2))[-1])
    assert plain.get_parameter("stem.0.weight").eq(1).all()


@torch.no_grad()
def test_skips_travel_with_the_features() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            one = self.one(x).relu()
            answer: torch.Tensor = self.three(self.two(one).relu() + one * y)
            return answer

    module = Skipping().eval()
    model = with_exits(module, (torch.randn(3, 6), torch.randn(3, 6)), ["two"]).eval()
    inputs = model.example(3)

    assert len(model.stages[0](inputs)) > 1
    assert torch.equal(model(*inputs)[-1], module(*inputs))


def test_every_stage_can_be_exported_alone() -> None:
    _, model = cut_resnet()
    piece = model.eval().get_subnetwork(0)
    batch = torch.export.Dim.AUTO
    program = torch.export.export(piece, model.example(2), dynamic_shapes=(({0: batch},),))

    assert program.module()(*model.example(5))[0].shape == (5, 10)


def test_costs_add_up_to_those_of_the_module() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    module, model = cut_resnet()
    with FlopCounterMode(display=False) as counter:
        module(*model.example(1))

    assert sum(flops(model).stages) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("cuts", "options", "told"),
    [
        (["layr1"], {}, "near are layer1"),
        ([], {}, "there are none"),
        (["fc"], {}, "nothing before or behind"),
        (["layer1"], {"classes": 7}, "not with 7"),
        (["layer1"], {"head": "mean"}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(cuts: list[str], options: dict[str, object], told: str) -> None:
    network = build("zoo:resnet-tiny")

    with pytest.raises(BadDocument, match=told):
        with_exits(network.module, network.args, cuts, **options)  # type: ignore[arg-type]


def test_a_module_with_several_answers_is_refused() -> None:
    network = build("zoo:towers-tiny")

    with pytest.raises(IllegalCut, match="3 tensors"):
        with_exits(network.module, network.args, [2])


def test_a_head_of_ones_own_is_made_from_the_shape() -> None:
    network = build("zoo:resnet-tiny")
    seen: list[tuple[int, ...]] = []

    def head(shape: tuple[int, ...], classes: int) -> nn.Module:
        seen.append(shape)
        return _First(shape[0], classes)

    model = with_exits(network.module, network.args, ["layer2"], head=head)

    assert seen == [(32, 16, 16)]
    assert model(*model.example(2))[0].shape == (2, 10)


class _First(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        made: torch.Tensor = self.fc(features[0].amax((2, 3)))
        return made


@torch.no_grad()
def test_stages_between_exits_that_are_gone_become_one() -> None:
    _, model = cut_resnet()
    kept = keep_exits(model.eval(), [1])

    assert len(kept.stages) == 2
    assert kept.num_blocks == 3
    assert torch.equal(kept(*model.example(2))[0], model(*model.example(2))[1])


def test_an_exit_at_a_position_is_called_after_the_stage_before_it() -> None:
    network = build("zoo:resnet-tiny")
    model = with_exits(network.module, network.args, [3], head="wide")

    assert model.names == ("stem.2", "final")
    assert model.heads[0].head.fc.in_features == 16 * 4 * 4


def test_constants_of_a_module_move_and_run_with_its_stages() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.two(self.one(x) * torch.tensor([1.0, 2, 3, 4, 5, 6]))
            return answer

    module = Scaled().eval()
    model = with_exits(module, (torch.randn(3, 6),), ["one"]).eval()

    assert torch.equal(model(*model.example(2))[-1], module(*model.example(2)))
