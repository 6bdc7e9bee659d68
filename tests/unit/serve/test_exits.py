"""Networks with exits: pieces, sums, fewer exits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from partita.errors import BadDocument
from partita.serve.exits import MultiExit, Stage, keep_exits, summed
from partita.serve.exits_build import build_exits
from partita.serve.exits_heads import MeanHead, WideHead


@pytest.fixture
def model() -> MultiExit:
    return build_exits("resnet18", 5, shape=(3, 16, 16), arguments={"width": 4}).eval()


@torch.no_grad()
def test_subnetworks_in_a_row_give_the_answers_of_the_whole(model: MultiExit) -> None:
    features, answers = model.example(2), []
    for index in range(model.num_subnetworks - 1):
        answer, *features = model.get_subnetwork(index)(*features)
        answers.append(answer)
    answers.append(model.get_subnetwork(model.num_subnetworks - 1)(*features))

    assert all(torch.equal(a, b) for a, b in zip(answers, model(*model.example(2)), strict=True))


@torch.no_grad()
def test_blocks_in_a_row_give_the_answers_of_the_whole(model: MultiExit) -> None:
    features, answers = model.example(2), []
    for index in range(model.num_blocks):
        block = model.get_block(index)
        made = block(*features)
        if block.head is None:
            features = made
        elif block.include_features:
            answers.append(made[0])
            features = made[1:]
        else:
            answers.append(made)

    assert all(torch.equal(a, b) for a, b in zip(answers, model(*model.example(2)), strict=True))


@torch.no_grad()
def test_the_regular_model_answers_as_the_last_exit(model: MultiExit) -> None:
    plain = model.restore_regular_model()

    assert torch.equal(plain(*model.example(2)), model(*model.example(2))[-1])


def test_the_regular_model_has_no_early_heads(model: MultiExit) -> None:
    assert not any(name.startswith("heads") for name in model.restore_regular_model().state_dict())


def test_the_regular_model_is_a_copy(model: MultiExit) -> None:
    plain = model.restore_regular_model()
    nn.init.zeros_(plain.get_parameter("fc.weight"))

    assert model.heads[-1].module[2].weight.abs().sum() > 0


@torch.no_grad()
def test_a_network_without_a_plain_one_is_restored_all_the_same() -> None:
    model = build_exits("early-cnn", 3, arguments={"width": 4}).eval()

    assert torch.equal(model.restore_regular_model()(*model.example(2)), model(*model.example(2))[-1])


@torch.no_grad()
def test_summed_exits_answer_with_the_sum_up_to_them(model: MultiExit) -> None:
    answers = torch.stack(model(*model.example(2))).cumsum(0)

    assert torch.allclose(torch.stack(summed(model)(*model.example(2))), answers, atol=1e-6)


@torch.no_grad()
def test_summed_subnetworks_carry_the_sum_in_their_features(model: MultiExit) -> None:
    made = summed(model)
    first, *features = made.get_subnetwork(0)(*model.example(2))
    second, *_ = made.get_subnetwork(1)(*features)

    assert torch.allclose(second, first + model(*model.example(2))[1], atol=1e-6)


@torch.no_grad()
def test_fewer_exits_answer_as_before(model: MultiExit) -> None:
    kept = keep_exits(model, [1])

    assert kept.names == ("layer2", "layer4")
    assert torch.equal(kept(*model.example(2))[0], model(*model.example(2))[1])
    assert kept.num_blocks == model.num_blocks


def test_an_exit_that_is_not_there_cannot_be_kept(model: MultiExit) -> None:
    with pytest.raises(BadDocument, match="exits 0 to 3"):
        keep_exits(model, [7])


def test_a_frozen_network_trains_its_heads_only(model: MultiExit) -> None:
    model.freeze()
    model.train()
    before = model.stages[0].blocks[0][1].running_mean.clone()
    sum(row.sum() for row in model(*model.example(4))).backward()

    assert torch.equal(before, model.stages[0].blocks[0][1].running_mean)
    assert all(p.grad is None for p in model.stages.parameters())
    assert all(p.grad is not None for p in model.heads.parameters())


def test_examples_are_the_same_at_every_call_and_leave_random_numbers_alone(model: MultiExit) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)

    assert torch.equal(model.example(2)[0], model.example(2)[0])
    assert torch.equal(torch.rand(1), wanted)


def test_all_that_is_wrong_with_a_network_is_told_at_once() -> None:
    with pytest.raises(BadDocument) as caught:
        MultiExit([Stage()], [], names=["a", "a"], classes=1, kind="image", example=lambda b: ())

    assert len(caught.value.problems) == 4


@torch.no_grad()
def test_a_padded_word_does_not_count_in_a_mean() -> None:
    head = MeanHead(4, 3, masked=True)
    words = torch.randn(1, 5, 4)
    mask = torch.tensor([[1, 1, 0, 0, 0]])

    assert torch.allclose(head((words, mask)), MeanHead.forward(_unmasked(head), (words[:, :2],)))


def _unmasked(head: MeanHead) -> MeanHead:
    other = MeanHead(4, 3)
    other.load_state_dict(head.state_dict())
    return other


def test_a_wide_head_takes_pictures_of_any_size() -> None:
    head = WideHead(6, 3, hidden=8)

    assert head((torch.randn(2, 6, 8, 8),)).shape == head((torch.randn(2, 6, 5, 7),)).shape == (2, 3)
