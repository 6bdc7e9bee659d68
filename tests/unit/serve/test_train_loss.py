"""What is made small, and how fast."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from partita.serve.train_loss import distance, joint_loss, learning_rate, make_optimizer
from partita.serve.train_spec import TrainSpec

SPEC = TrainSpec("early-cnn")
LABELS = torch.tensor([0, 2, 1])


def logits(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 4, generator=generator) for _ in range(3)]


def test_the_weighted_sum_weighs_every_exit() -> None:
    losses = [F.cross_entropy(row, LABELS) for row in logits()]

    assert joint_loss(SPEC, (0.5, 0.0, 2.0), logits(), LABELS) == pytest.approx(
        float(0.5 * losses[0] + 2 * losses[2])
    )


def test_the_residual_loss_is_that_of_the_sum_and_changes_no_logits() -> None:
    rows = logits()
    loss = joint_loss(replace(SPEC, loss_fn="residual"), (), rows, LABELS)

    assert loss == pytest.approx(float(F.cross_entropy(rows[0] + rows[1] + rows[2], LABELS)))
    assert torch.equal(rows[0], logits()[0])


def test_mixed_labels_are_shares_of_classes() -> None:
    shares = F.one_hot(LABELS, 4).float()

    assert joint_loss(SPEC, (1, 1, 1), logits(), shares) == pytest.approx(
        float(joint_loss(SPEC, (1, 1, 1), logits(), LABELS))
    )


def test_smoothing_costs_the_sure() -> None:
    sure = [F.one_hot(LABELS, 4).float() * 20]

    assert joint_loss(replace(SPEC, label_smoothing=0.1), (1,), sure, LABELS) > joint_loss(
        SPEC, (1,), sure, LABELS
    )


def test_a_student_like_its_teacher_is_at_no_distance() -> None:
    row = logits()[0]

    assert distance(row, row + 3, 2.0) == pytest.approx(0, abs=1e-6)
    assert distance(row, logits(1)[0], 2.0) > 0


def test_distillation_does_not_move_the_last_exit() -> None:
    rows = [row.requires_grad_() for row in logits()]
    joint_loss(replace(SPEC, distill=1.0), (1, 1, 0), rows, LABELS).backward()

    assert rows[0].grad is not None
    assert rows[0].grad.abs().sum() > 0
    assert rows[2].grad is None or rows[2].grad.abs().sum() == 0


def test_early_exits_forget_the_labels_when_all_comes_from_the_last() -> None:
    spec = replace(SPEC, distill=1.0)

    assert joint_loss(spec, (1, 1, 0), logits(), LABELS) == joint_loss(
        spec, (1, 1, 0), logits(), LABELS.flip(0)
    )


def test_without_a_cycle_the_rate_stays() -> None:
    assert {learning_rate(SPEC, step, 10) for step in range(10)} == {SPEC.learning_rate}


def test_one_cycle_is_that_of_torch() -> None:
    spec = replace(SPEC, one_cycle=True, learning_rate=0.1)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=50, cycle_momentum=False)
    for step in range(50):
        assert learning_rate(spec, step, 50) == pytest.approx(theirs.get_last_lr()[0], rel=1e-5)
        optimizer.step()
        if step < 49:
            theirs.step()


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_the_optimizer_is_the_one_asked_for(name: str, kind: str) -> None:
    module = torch.nn.Linear(2, 2)

    assert type(make_optimizer(replace(SPEC, optimizer=name), module.parameters())).__name__ == kind  # type: ignore[arg-type]


def test_biases_do_not_decay() -> None:
    module = torch.nn.Linear(2, 2)
    groups = make_optimizer(replace(SPEC, weight_decay=0.1), module.parameters()).param_groups

    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.1, 1), (0.0, 1)]


def test_frozen_weights_are_left_out() -> None:
    module = torch.nn.Linear(2, 2)
    module.weight.requires_grad_(False)

    assert len(make_optimizer(SPEC, module.parameters()).param_groups) == 1
