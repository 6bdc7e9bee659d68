"""The same training under every arm: real steps against a cloud in this process, over links that are only named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from partita.errors import PartFailed
from partita.graph import CodecCost
from partita.profile import Effort
from partita.testing.lines import Tampering, around
from partita.train import Cell, Contest, Settings, compare, opening, room_measuring
from partita.train import comparing as module
from partita.train.comparing import Row, Survey
from partita.train.messages import Step
from partita.train.room import House, Room
from partita.wire import LinkShape, Message

from .conftest import batch_of, small_net

# With inputs that may leave, the cloud alone is an arm too.
SETTINGS = Settings(batch=6, epochs=400, seed=1, inputs_private=False)
COST = CodecCost(1e-9, 1e-9)
CELL = Cell(100, 0.001)


@dataclass
class Here:
    """What a comparison needs of a cloud in a second process."""

    state: Path
    token: str = ""
    shapes: list[LinkShape] = field(default_factory=list)
    rooms: list[Room] = field(default_factory=list)
    tampering: Tampering = field(default_factory=Tampering)

    @property
    def url(self) -> Any:
        def room() -> Room:
            self.rooms.append(Room(House(self.state)))
            return self.rooms[-1]

        return around(room, self.tampering)

    def reshape(self, shape: LinkShape) -> None:
        self.shapes.append(shape)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    for each in (opening, room_measuring):
        monkeypatch.setattr(each, "EFFORT", Effort(seconds=0.002, budget=0.02))
        monkeypatch.setattr(each, "measure_codecs", lambda names, **_: dict.fromkeys(names, COST))
    here = Here(tmp_path)
    yield here
    for room in here.rooms:
        room.end("the test is over")


def data() -> tuple[torch.Tensor, torch.Tensor]:
    batches = [batch_of(step) for step in range(4)]
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def contest(**fields: Any) -> Contest:
    words = {"steps": 6, "warmup": 1, "blocks": 2, "arms": ("edge only", "JointDNN"), **fields}
    return Contest(small_net(), data(), data(), SETTINGS, **words)


def test_every_arm_runs_in_every_cell(cloud: Here) -> None:
    """Each row says what was measured, and beside it what was predicted; the model is left as it was."""
    asked, rows = contest(arms=("edge only", "cloud only")), list[Row]()
    before = {name: value.clone() for name, value in asked.model.state_dict().items()}
    cells = [CELL, Cell(2, 0.04)]
    found = compare(asked, cloud, cells, on_row=rows.append)  # type: ignore[arg-type]

    assert found == rows
    assert {row.arm for row in found} == {"edge only", "cloud only"}
    assert {row.cell for row in found} == set(cells)
    for row in found:
        assert (row.problem, row.steps >= 4) == ("", True)
        assert row.step_seconds is not None
        assert row.predicted is not None
        assert row.overlap >= 1.0
    assert all(torch.equal(before[name], value) for name, value in asked.model.state_dict().items())
    assert cloud.shapes[0].up == 100e6


def test_what_goes_over_the_line_is_told(cloud: Here) -> None:
    """Nothing where the edge is alone."""
    rows = {row.arm: row for row in compare(contest(arms=("edge only", "cloud only")), cloud, [CELL])}  # type: ignore[arg-type]

    assert (rows["edge only"].bytes_up, rows["edge only"].bytes_down) == (0, 0)
    assert rows["cloud only"].bytes_up > 0


@pytest.mark.parametrize("target", [None, 0.99])
def test_an_arm_that_fails_is_a_row_that_says_why(target: float | None, cloud: Here) -> None:
    """The others go on."""

    def refuse(message: Message) -> PartFailed | None:
        return PartFailed("the fan stopped", fix="oil it") if isinstance(message, Step) else None

    cloud.tampering.refuse = refuse
    asked = replace(
        contest(arms=("edge only", "cloud only"), target=target), settings=replace(SETTINGS, epochs=2)
    )
    rows = {row.arm: row for row in compare(asked, cloud, [CELL])}  # type: ignore[arg-type]

    assert "fan stopped" in rows["cloud only"].problem
    assert rows["cloud only"].step_seconds is None
    assert rows["edge only"].problem == ""


def test_training_to_a_target_tells_when_it_was_reached(cloud: Here) -> None:
    """A target that is easy, and one that nothing reaches in two epochs."""
    easy = contest(arms=("edge only",), target=0.1)
    hard = replace(contest(arms=("edge only",), target=1.0), settings=replace(SETTINGS, epochs=1))
    (reached,), (missed,) = (compare(each, cloud, [CELL]) for each in (easy, hard))  # type: ignore[arg-type]

    assert reached.to_target is not None
    assert (missed.to_target, missed.steps) == (None, 4)
    assert missed.accuracy is not None


def test_the_planner_is_an_arm_too(cloud: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given no plan; it is waited for until it has settled."""
    from partita.train import contestant

    monkeypatch.setattr(contestant, "QUIET", 0.05)
    (row,) = compare(contest(arms=("auto",)), cloud, [CELL])  # type: ignore[arg-type]

    assert (row.arm, row.problem) == ("auto", "")


def test_a_survey_keeps_inputs_at_home(cloud: Here) -> None:
    """As a session does."""
    private = replace(contest(), settings=replace(SETTINGS, inputs_private=True))
    survey, public = (Survey.of(each, cloud) for each in (private, contest()))  # type: ignore[arg-type]

    assert (survey.settings.min_front, public.settings.min_front) == (1, 0)
    assert set(survey.profiles) == {"edge", "cloud"}
    assert len(survey.arms(CELL.link)) > 4


def test_a_cell_is_a_link_for_the_planner_and_for_the_shaper() -> None:
    cell = Cell(8, 0.04)

    assert (cell.link.up, cell.shape.up, cell.shape.rtt) == (8e6, 8e6, 0.04)
    assert str(cell) == "8 Mbit/s, 40 ms"
    assert module.Row(cell, "x", "p", None, None).overlap == 1.0
