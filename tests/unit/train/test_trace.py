"""Traces: what is written comes back, whatever happened between."""

from __future__ import annotations

import os
import subprocess
import sys
from math import isnan, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, NotFound, UserError
from partita.train import trace as module
from partita.train.reports import EpochReport, Event, StepReport
from partita.train.trace import RunLine, Trace, TraceWriter, read_trace

RUN = RunLine("zoo:resnet-tiny", "sha256:1", {"epochs": 2}, "pi", "0.1", "edge[0:2] | K=0")


def step(number: int, *, epoch: int = 1, loss: float = 0.5) -> StepReport:
    return StepReport(
        number, epoch, loss, 3, 4, 0.01, 0.02, "edge[0:2]", 0, 0, 0, "raw", "raw", 10, 20, 0.005, 0.0, 0.001, None, 2e6, 0.04, 0.1
    )  # fmt: skip


def epoch(number: int, loss: float = 0.5) -> EpochReport:
    return EpochReport(number, 10, 1.0, loss, 0.9, None, None, 100, 200)


def back(to: int) -> Event:
    return Event("resumed", to, f"goes on from step {to}")


def write(path: Path, *reports: StepReport | EpochReport | Event, run: RunLine = RUN) -> None:
    with TraceWriter(path, run) as writer:
        for report in reports:
            writer.add(report)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    told = (step(0), step(1), epoch(1), Event("moved", 2, "a move", {"bytes": 7.0, "to": "edge"}))
    write(tmp_path / "t", *told)

    assert read_trace(tmp_path / "t") == Trace((RUN,), told[:2], told[2:3], told[3:])


def test_a_loss_that_left_the_numbers_comes_back_as_none_of_them(tmp_path: Path) -> None:
    write(tmp_path / "t", step(0, loss=nan), epoch(1, loss=nan))
    found = read_trace(tmp_path / "t")

    assert isnan(found.steps[0].loss)
    assert isnan(found.epochs[0].loss)


@given(cut=st.integers(min_value=1, max_value=400))
def test_wherever_a_file_is_cut_off_whole_lines_are_read(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "t"
    write(path, *(step(i) for i in range(3)))
    size = path.stat().st_size
    lines = path.read_bytes().splitlines(keepends=True)
    os.truncate(path, size - cut)
    whole = sum(1 for i in range(len(lines)) if sum(map(len, lines[: i + 1])) <= size - cut)

    assert len(read_trace(path).steps) == whole - 1


def test_a_trace_goes_on_behind_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write(path, step(0), step(1))
    os.truncate(path, path.stat().st_size - 5)
    write(path, step(1), step(2))
    found = read_trace(path)

    assert [s.step for s in found.steps] == [0, 1, 2]
    assert len(found.runs) == 2


def test_steps_that_were_rolled_back_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "t", step(0), step(1), epoch(1), step(2), step(3), back(1))
    found = read_trace(tmp_path / "t")

    assert [s.step for s in found.steps] == [0]
    assert (found.epochs, found.undone) == ((), 3)
    assert found.events == (back(1),)


def test_an_epoch_before_the_checkpoint_stays(tmp_path: Path) -> None:
    write(tmp_path / "t", step(0), step(1), epoch(1), step(2), back(2), step(2), epoch(2))

    assert [e.epoch for e in read_trace(tmp_path / "t").epochs] == [1, 2]


def test_a_number_that_comes_again_undoes_without_an_event(tmp_path: Path) -> None:
    write(tmp_path / "t", step(0), step(1), epoch(1), step(2))
    write(tmp_path / "t", step(1, loss=0.25), epoch(1, loss=0.25))
    found = read_trace(tmp_path / "t")

    assert [s.loss for s in found.steps] == [0.5, 0.25]
    assert [e.loss for e in found.epochs] == [0.25]


def test_step_lines_can_be_bounded_and_the_rest_stays(tmp_path: Path) -> None:
    now = [0.0]
    with TraceWriter(tmp_path / "t", RUN, rate=10, clock=lambda: now[0]) as writer:
        for i in range(100):
            now[0] += 0.01
            writer.add(step(i))
        writer.add(epoch(1))
        writer.add(back(99))
    found = read_trace(tmp_path / "t")

    assert 8 <= len(found.steps) <= 11
    assert (len(found.epochs), len(found.events)) == (0, 1)


def test_lines_wait_for_company_but_not_for_long(tmp_path: Path) -> None:
    path, now = tmp_path / "t", [0.0]
    with TraceWriter(path, RUN, clock=lambda: now[0]) as writer:
        writer.add(step(0))
        assert len(read_trace(path).steps) == 0
        now[0] = 1.0
        writer.add(step(1))
        assert len(read_trace(path).steps) == 2
        for i in range(2, 102):
            writer.add(step(i))
        assert len(read_trace(path).steps) == 102


def test_an_event_is_written_at_once(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t", RUN, clock=lambda: 0.0) as writer:
        writer.add(step(0))
        writer.add(Event("lost", 1, "the link is gone"))
        assert len(read_trace(tmp_path / "t").steps) == 1
        writer.close()


def test_what_was_written_survives_the_death_of_its_process(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from partita.train.trace import RunLine, TraceWriter; from partita.train.reports import Event\n"
        "w = TraceWriter(Path(sys.argv[1]), RunLine('m', 'd')); w.add(Event('began', 0, 'it begins'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "t")], check=False)

    assert [e.what for e in read_trace(tmp_path / "t").events] == ["began"]


def test_another_models_trace_is_not_written_into(tmp_path: Path) -> None:
    write(tmp_path / "t", step(0))
    with pytest.raises(BadDocument, match="another digest"):
        TraceWriter(tmp_path / "t", RunLine("other", "sha256:2"))


def test_a_later_version_may_tell_more(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text('{"kind":"run","model":"m","digest":"d","colour":"red"}\n{"kind":"news"}\n')

    assert read_trace(path).run == RunLine("m", "d")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ('{"kind":"step"}\n', "not a run"),
        ('{"kind":"run","model":"m","digest":"d"}\n{broken\n', "line 2"),
        ('{"kind":"run","model":"m","digest":"d"}\n[1]\n', "line 2 is no object"),
        ('{"kind":"run","model":"m","digest":"d"}\n{"kind":"step","step":1}\n', "missing required field"),
        ('{"kind":"run","model":1}\n', "line 1"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t").write_text(text)
    with pytest.raises(BadDocument, match=said):
        read_trace(tmp_path / "t")


def test_a_line_without_an_end_is_not_taken_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 100)
    (tmp_path / "t").write_text("x" * 200)
    with pytest.raises(BadDocument, match="longer than 100 bytes"):
        read_trace(tmp_path / "t")


def test_a_trace_that_is_not_there_or_not_readable_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no trace"):
        read_trace(tmp_path / "absent")
    with pytest.raises(BadDocument, match="cannot be read"):
        read_trace(tmp_path)


def test_a_trace_is_not_begun_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        TraceWriter(tmp_path / "absent" / "t", RUN)
    (tmp_path / "t").write_text('{"kind":"epoch"}\n')
    with pytest.raises(BadDocument, match="no run"):
        TraceWriter(tmp_path / "t", RUN)
    with pytest.raises(BadDocument, match="rate"):
        TraceWriter(tmp_path / "u", RUN, rate=0)
    (tmp_path / "u").write_text("half")
    write(tmp_path / "u", step(0))
    assert len(read_trace(tmp_path / "u").steps) == 1
