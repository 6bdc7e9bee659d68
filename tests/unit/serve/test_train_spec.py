"""The documents of a run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from partita.errors import BadDocument
from partita.graph import dump, load
from partita.serve.train_spec import Run, TrainSpec


def test_a_specification_survives_a_document() -> None:
    spec = TrainSpec(
        "bert",
        cuts=(1, "layer2"),
        arguments={"width": 8, "after": (1, 2), "drop": 0.5},
        weights=(0.1, 0.9),
        augment="flip",
    )
    run = Run(spec, ("a", "b"), ("x", "y"), "text", (4,), (1.0, 2.0), accuracy=(0.5, 0.6))

    assert load(Run, dump(run)) == run


def test_all_wrong_fields_are_told_at_once() -> None:
    with pytest.raises(BadDocument) as caught:
        TrainSpec(
            "resnet18",
            loss_fn="sum",  # type: ignore[arg-type]
            optimizer="lion",  # type: ignore[arg-type]
            epochs=0,
            learning_rate=float("nan"),
            distill=2.0,
            weight_decay=-1.0,
            weights=(-1.0, 1.0),
        )

    assert len(caught.value.problems) == 7


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"weights": (0.0, 0.0)}, "all are zero"),
        ({"weights": (1.0, 1.0), "loss_fn": "residual"}, "residual loss is that of one sum"),
        ({"distill": 0.5, "loss_fn": "residual"}, "nobody to learn from"),
        ({"input_type": "smell"}, "none of image, audio, text"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(BadDocument, match=told):
        TrainSpec("resnet18", **fields)  # type: ignore[arg-type]


def test_exits_weigh_the_same_unless_said() -> None:
    assert TrainSpec("resnet18").exit_weights("abcd") == (0.25,) * 4
    assert TrainSpec("resnet18", weights=(0.1, 0.2, 0.2, 0.5)).exit_weights("abcd") == (0.1, 0.2, 0.2, 0.5)


def test_equal_specifications_have_one_hash() -> None:
    assert hash(TrainSpec("a", arguments={"width": 3})) == hash(TrainSpec("a", arguments={"width": 3}))


def test_a_specification_needs_no_torch() -> None:
    script = "import sys, partita.serve.train_spec; print('torch' in sys.modules)"

    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )
