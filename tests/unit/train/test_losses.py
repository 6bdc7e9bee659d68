"""Losses by name, losses of the user's own, right answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from partita.errors import BadDocument
from partita.train.losses import LOSSES, computed, count_right, custom_loss, named_loss

DRAW = torch.Generator().manual_seed(0)
SCORES = torch.randn(6, 4, generator=DRAW)
LABELS = torch.tensor([0, 3, 1, 2, 2, 0])
TOKENS = torch.randn(2, 5, 7, generator=DRAW)
WORDS = torch.tensor([[0, 1, -100, 6, 2], [3, -100, -100, 4, 5]])


def loss_of(name: str, answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return computed(named_loss(name, ["output"]), {"output": answer}, {"label": target})


def right(name: str, answer: torch.Tensor, target: torch.Tensor) -> tuple[int, int]:
    return count_right(named_loss(name, ["output"]), {"output": answer}, {"label": target})


@pytest.mark.parametrize(
    ("name", "answer", "target", "expected"),
    [
        ("cross_entropy", SCORES, LABELS, F.cross_entropy(SCORES, LABELS)),
        ("cross_entropy", SCORES, LABELS.to(torch.uint8), F.cross_entropy(SCORES, LABELS)),
        ("cross_entropy", SCORES, SCORES.softmax(1), F.cross_entropy(SCORES, SCORES.softmax(1))),
        ("cross_entropy", TOKENS, WORDS, F.cross_entropy(TOKENS.flatten(0, 1), WORDS.flatten())),
        ("nll", SCORES.log_softmax(1), LABELS, F.nll_loss(SCORES.log_softmax(1), LABELS)),
        ("mse", SCORES, SCORES * 2, F.mse_loss(SCORES, SCORES * 2)),
        ("l1", SCORES, SCORES * 2, F.l1_loss(SCORES, SCORES * 2)),
        ("smooth_l1", SCORES, SCORES * 2, F.smooth_l1_loss(SCORES, SCORES * 2)),
        (
            "binary_cross_entropy",
            SCORES[:, :1],
            LABELS > 1,
            F.binary_cross_entropy_with_logits(SCORES[:, 0], (LABELS > 1).float()),
        ),
    ],
)
def test_a_loss_by_name_is_torchs_own(
    name: str, answer: torch.Tensor, target: torch.Tensor, expected: torch.Tensor
) -> None:
    """Bit for bit; labels of any integer type."""
    assert torch.equal(loss_of(name, answer, target), expected)


def test_images_keep_their_classes_along_axis_one() -> None:
    """A label for every pixel, as torch has it."""
    answer, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))

    assert torch.equal(loss_of("cross_entropy", answer, target), F.cross_entropy(answer, target))
    assert right("cross_entropy", answer, target) == (int((answer.argmax(1) == target).sum()), 40)


def test_the_output_called_logits_is_judged_and_else_the_first_of_floating_point() -> None:
    """Indices and hidden states beside it do not matter."""
    outputs = {"best": LABELS, "hidden": SCORES * 3, "logits": SCORES}
    expected = F.cross_entropy(SCORES, LABELS)

    assert torch.equal(named_loss("cross_entropy", list(outputs))(outputs, {"y": LABELS}), expected)
    del outputs["logits"]
    outputs["hidden"] = SCORES
    assert torch.equal(named_loss("cross_entropy", list(outputs))(outputs, {"y": LABELS}), expected)


def test_a_given_loss_is_the_models_own_output() -> None:
    """Hugging Face calls it loss; it needs no targets."""
    outputs = {"logits": SCORES, "loss": torch.tensor(2.5)}

    assert named_loss("given", list(outputs))(outputs, {}).item() == 2.5


def test_a_model_without_a_fitting_output_is_refused() -> None:
    """With what it gives."""
    with pytest.raises(BadDocument, match="given: none of the outputs logits is of one number"):
        named_loss("given", ["logits"])({"logits": SCORES}, {})
    with pytest.raises(BadDocument, match="mse: none of the outputs best is of floating point"):
        named_loss("mse", ["best"])({"best": LABELS}, {"label": LABELS})


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    """All of them."""
    with pytest.raises(BadDocument, match=", ".join(LOSSES)):
        named_loss("hinge", ["output"])


@pytest.mark.parametrize(
    ("name", "answer", "target", "said"),
    [
        ("cross_entropy", SCORES, LABELS + 2, "label 5 is not among the model's 4 classes"),
        ("cross_entropy", SCORES, LABELS - 1, "label -1 is not among"),
        ("cross_entropy", SCORES, LABELS[:3], r"shape \[3\] does not fit the model's answer \[6, 4\]"),
        ("cross_entropy", SCORES, SCORES[:, :2].softmax(1), "shares of classes"),
        ("cross_entropy", SCORES[0], LABELS, "an axis of classes"),
        ("mse", SCORES, LABELS.float(), r"targets would be \[6, 4\]"),
        ("mse", SCORES[:, 0], SCORES[:, :1].T.repeat(6, 1), r"shape \[6, 6\]"),
    ],
)
def test_targets_that_do_not_fit_are_refused_before_torch_computes(
    name: str, answer: torch.Tensor, target: torch.Tensor, said: str
) -> None:
    """On a GPU a label out of range ends the process; [n] beside [n, n] would silently be spread."""
    with pytest.raises(BadDocument, match=said):
        loss_of(name, answer, target)


def test_several_targets_are_no_question_for_a_loss_by_name() -> None:
    """Unless one is called label."""
    loss = named_loss("cross_entropy", ["output"])
    with pytest.raises(BadDocument, match=r"there are 2 \(a, b\)"):
        loss({"output": SCORES}, {"a": LABELS, "b": LABELS})

    both = {"a": LABELS * 0, "label": LABELS}
    assert torch.equal(loss({"output": SCORES}, both), F.cross_entropy(SCORES, LABELS))


@pytest.mark.parametrize(
    ("name", "answer", "target", "expected"),
    [
        ("cross_entropy", torch.eye(4), torch.tensor([0, 1, 2, 0]), (3, 4)),
        ("cross_entropy", torch.eye(4), torch.eye(4), (4, 4)),
        ("cross_entropy", TOKENS, TOKENS.argmax(2).where(WORDS >= 0, -100), (7, 7)),
        ("nll", torch.eye(4), torch.tensor([0, 1, 2, 0]), (3, 4)),
        ("binary_cross_entropy", torch.tensor([[1.0], [-1.0], [1.0]]), torch.tensor([1, 0, 0]), (2, 3)),
        ("mse", SCORES, SCORES, (-1, 6)),
    ],
)
def test_right_answers_are_counted_over_what_the_loss_is_a_mean_of(
    name: str, answer: torch.Tensor, target: torch.Tensor, expected: tuple[int, int]
) -> None:
    """Samples, tokens with a label, or single yes and no; -1 where right is no question."""
    assert right(name, answer, target) == expected


def test_a_custom_loss_sees_the_users_own_structures() -> None:
    """What his model returns, and what his data gives."""

    def loss(answer: Any, targets: Any) -> torch.Tensor:
        return F.mse_loss(answer["box"], targets[0])

    custom = custom_loss(loss, lambda o: {"box": o["output.1"]}, lambda t: [t["label/0"]])

    assert computed(custom, {"output.1": SCORES}, {"label/0": SCORES + 1}).item() == pytest.approx(1)


def test_a_loss_that_would_have_to_learn_is_refused() -> None:
    """Nobody would train its parameters."""
    with pytest.raises(BadDocument, match="Bilinear has parameters of its own"):
        custom_loss(nn.Bilinear(1, 1, 1), dict, dict)
    assert custom_loss(nn.MSELoss(), dict, dict)


@pytest.mark.parametrize(("made", "seen"), [(SCORES, r"shape \[6, 4\]"), (1.5, "float"), (None, "NoneType")])
def test_a_loss_that_is_not_one_number_is_refused(made: Any, seen: str) -> None:
    """With what it gave instead."""
    with pytest.raises(BadDocument, match=f"it gives {seen}, not one number"):
        computed(lambda *_: made, {}, {})


def test_how_many_samples_a_custom_loss_saw_is_read_from_the_targets() -> None:
    """Or from the outputs, or it is one."""
    assert count_right(lambda *_: SCORES, {"a": SCORES[:2]}, {"label": LABELS}) == (-1, 6)
    assert count_right(lambda *_: SCORES, {"a": SCORES[:2]}, {}) == (-1, 2)
    assert count_right(lambda *_: SCORES, {"a": torch.tensor(1.0)}, {}) == (-1, 1)
